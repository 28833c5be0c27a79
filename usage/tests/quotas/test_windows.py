"""The window slides: never early, at most one bucket late (S-51); when it opens again (S-15)."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from usage.quotas.terms import Hold, Refused
from usage.quotas.window import Window, window_of
from usage.tests.quotas.conftest import a_rule

NOW = 1_800_000_000.0
LENGTHS = (1, 2, 59, 60, 359, 360, 361, 400, 3600, 86_400, 2_592_000)


@pytest.mark.parametrize("seconds", LENGTHS)
@given(at=st.floats(1e9, 4e9))
@settings(max_examples=50, deadline=None)
def test_a_bucket_leaves_never_early_and_at_most_its_width_late(seconds, at):
    window = Window(seconds)

    moment = window.leaves(window.bucket(at))

    assert at + seconds < moment <= at + seconds + window.width + 1e-5
    newest = window.bucket(moment)
    assert window.bucket(math.nextafter(moment, 0)) == newest - 1
    assert newest - window.buckets == window.bucket(at) + 1


@pytest.mark.parametrize("seconds", LENGTHS)
def test_a_rule_s_buckets_are_those_of_its_window(seconds):
    assert a_rule(seconds).bucket_s == window_of(seconds).width == max(1.0, seconds / 360)


def before(moment):
    return math.nextafter(moment, 0)


@pytest.mark.parametrize("ago", [0, 5, 359])
def test_requests_open_when_enough_have_left(counters, ago):
    rule = a_rule(3600, max_requests=3)
    counters.fill(rule, [(NOW - 2000, 1, 0, 0), (NOW - 1000, 2, 0, 0), (NOW - ago, 1, 0, 0)], NOW)

    refused = counters.reserve([rule], 0, 0, NOW)

    assert refused.standing.opens_at == NOW - 1000 + 3610  # two have to go, and are in one bucket
    assert isinstance(counters.reserve([rule], 0, 0, before(refused.standing.opens_at)), Refused)
    assert isinstance(counters.reserve([rule], 0, 0, refused.standing.opens_at), Hold)


@pytest.mark.parametrize("limit", ["tokens", "cost"])
def test_tokens_and_cost_open_when_less_than_the_limit_is_left(counters, limit):
    limits = {"max_total_tokens": 100} if limit == "tokens" else {"max_cost": 100}
    rule = a_rule(60, **limits)
    counters.fill(rule, [(NOW - 50, 1, 60, 60), (NOW - 40, 1, 90, 90)], NOW)

    refused = counters.reserve([rule], 1, 1, NOW)

    assert (refused.limit, refused.standing.opens_at) == (limit, NOW - 50 + 61)
    assert counters.standing(rule, before(NOW + 11)).limit == limit
    hold = counters.reserve([rule], 50, 50, NOW + 11)
    assert getattr(hold, limit) == 10


def test_where_holds_alone_fill_it_nobody_knows(counters):
    rule = a_rule(60, max_total_tokens=100)
    counters.fill(rule, [], NOW)
    counters.reserve([rule], 100, 0, NOW)

    assert counters.reserve([rule], 1, 0, NOW).standing.opens_at == NOW + 1


def test_where_holds_and_use_fill_it_use_has_to_leave(counters):
    rule = a_rule(60, max_total_tokens=100)
    counters.fill(rule, [(NOW - 50, 1, 70, 0)], NOW)
    counters.reserve([rule], 100, 0, NOW)

    refused = counters.reserve([rule], 1, 0, NOW)

    assert refused.standing.opens_at == NOW + 11
    assert isinstance(counters.reserve([rule], 1, 0, before(NOW + 11)), Refused)
    assert isinstance(counters.reserve([rule], 1, 0, NOW + 11), Hold)


def test_the_last_limit_to_open_says_when(counters):
    rule = a_rule(60, max_requests=1, max_total_tokens=10, max_concurrent=1)
    counters.fill(rule, [(NOW - 50, 0, 10, 0), (NOW - 30, 1, 0, 0)], NOW)

    refused = counters.reserve([rule], 1, 0, NOW)

    assert (refused.limit, refused.standing.opens_at) == ("requests", NOW - 30 + 61)


@pytest.mark.parametrize("name", ["max_requests", "max_total_tokens", "max_cost", "max_concurrent"])
def test_a_maximum_of_nothing_never_opens(counters, name):
    """S-16."""
    rule = a_rule(60, **{name: 0})
    counters.fill(rule, [], NOW)

    refused = counters.reserve([rule], 1, 1, NOW)

    assert refused.limit == name.removeprefix("max_").removeprefix("total_")
    assert refused.standing.opens_at is None


def test_where_a_call_would_be_admitted_it_opens_now(counters):
    rule = a_rule(60, max_requests=2)
    counters.fill(rule, [], NOW)

    first = counters.reserve([rule], 0, 0, NOW).parts[0][4]
    second = counters.reserve([rule], 0, 0, NOW + 0.5).parts[0][4]

    assert (first.opens_at, first.limit) == (NOW, None)
    assert (second.opens_at, second.limit) == (NOW + 61, "requests")


def test_the_window_says_when_it_is_empty_again(counters):
    rule = a_rule(60)
    counters.fill(rule, [], NOW)
    empty = counters.standing(rule, NOW + 0.5)
    assert (empty.requests_reset_at, empty.tokens_reset_at) == (NOW + 0.5, NOW + 0.5)

    counters.charge(rule, NOW, 1, 0, 0, NOW)
    counters.charge(rule, NOW - 20, 1, 5, 0, NOW)
    standing = counters.standing(rule, NOW)
    assert (standing.requests_reset_at, standing.tokens_reset_at) == (NOW + 61, NOW + 41)

    counters.charge(rule, NOW, -1, 0, 0, NOW)  # what was newest is gone: the one before counts
    assert counters.standing(rule, NOW).requests_reset_at == NOW + 41
    counters.charge(rule, NOW - 20, 0, -5, 0, NOW)
    assert counters.standing(rule, NOW).tokens_reset_at == NOW


def test_held_tokens_are_in_the_window_as_long_as_their_requests(counters):
    rule = a_rule(60, max_total_tokens=10)
    counters.fill(rule, [(NOW - 30, 1, 1, 0)], NOW)

    standing = counters.reserve([rule], 5, 0, NOW).parts[0][4]

    assert standing.tokens_reset_at == NOW + 61


def test_a_clock_that_goes_back_opens_nothing_early(counters):
    rule = a_rule(60, max_requests=2)
    counters.fill(rule, [(NOW, 1, 0, 0)], NOW)

    for back in (5, 3600, 10**8):
        hold = counters.reserve([rule], 0, 0, NOW - back)
        assert isinstance(hold, Hold)
        refused = counters.reserve([rule], 0, 0, NOW - back)
        assert refused.standing.opens_at > NOW - back + 60
        counters.settle(hold, False, 0, 0, NOW - back)
        counters.charge(rule, NOW - back, 1, 2, 3, NOW - back)
        assert counters.standing(rule, NOW - back).requests == 2
        counters.charge(rule, NOW - back, -1, -2, -3, NOW - back)
    assert counters.reserve([rule], 0, 0, NOW).parts[0][4].requests == 2


def test_the_clock_of_a_charge_may_be_ahead(counters):
    rule = a_rule(60)
    counters.fill(rule, [(NOW - 30, 1, 1, 1), (NOW + 900, 1, 1, 1)], NOW)

    counters.charge(rule, NOW + 10**8, 1, 1, 1, NOW)

    assert counters.standing(rule, NOW).requests == 3
    assert counters.standing(rule, NOW + 61).requests == 0


@dataclass(eq=False)
class Event:
    """One admitted request or charge of the model."""

    at: float
    requests: int
    tokens: int = 0
    cost: int = 0
    has_left: bool = False  # some later moment was after its window

    def seen(self, now, window_s):
        self.has_left = self.has_left or now > self.at + window_s


class Model:
    """A list of events, and the counters that have to agree with it."""

    def __init__(self, counters, rule):
        self.counters, self.rule = counters, rule
        self.now = NOW
        self.goes_back = False
        self.events, self.live = [], []
        counters.fill(rule, [], NOW)

    def check(self):
        for event in self.events:
            event.seen(self.now, self.rule.window_s)
        standing = self.counters.standing(self.rule, self.now)
        late = self.now - self.rule.window_s - self.rule.bucket_s - 1e-5
        for name in ("requests", "tokens", "cost"):
            least = sum(getattr(event, name) for event in self.events if not event.has_left)
            most = sum(getattr(event, name) for event in self.events if event.at > late)
            assert least <= getattr(standing, name), name
            assert self.goes_back or getattr(standing, name) <= most, name
        assert standing.concurrent == len(self.live)
        assert standing.held_tokens == sum(hold.parts[0][2] for hold, _ in self.live)
        assert standing.held_cost == sum(hold.parts[0][3] for hold, _ in self.live)
        return standing

    def move(self, share):
        self.now += share * self.rule.window_s
        self.goes_back = self.goes_back or share < 0
        self.counters.beat(self.now)

    def reserve(self, tokens, cost):
        standing = self.check()
        found = self.counters.reserve([self.rule], tokens, cost, self.now)
        if isinstance(found, Refused):
            assert found.standing == standing
            assert found.limit is not None
            assert standing.opens_at is None or standing.opens_at > self.now
            return
        assert standing.opens_at == self.now
        event = Event(self.now, 1)
        self.events.append(event)
        self.live.append((found, event))

    def settle(self, which, counted, tokens, cost):
        if not self.live:
            return
        hold, event = self.live.pop(which % len(self.live))
        self.counters.settle(hold, counted, tokens, cost, self.now)
        if counted:
            event.tokens, event.cost = tokens, cost
        else:
            self.events.remove(event)

    def charge(self, share, requests, tokens, cost):
        at = self.now - share * self.rule.window_s
        self.counters.charge(self.rule, at, requests, tokens, cost, self.now)
        self.events.append(Event(at, requests, tokens, cost))

    def check_opening(self):
        """To the instant: refused before `opens_at`, admitted at it."""
        standing = self.check()
        holds_alone = (
            standing.held_tokens >= (self.rule.max_total_tokens or math.inf)
            or standing.held_cost >= (self.rule.max_cost or math.inf)
            or standing.concurrent >= (self.rule.max_concurrent or math.inf)
        )
        if standing.limit is None or holds_alone:
            return
        for moment, is_open in ((before(standing.opens_at), False), (standing.opens_at, True)):
            self.now = moment
            self.counters.beat(moment)
            assert (self.counters.standing(self.rule, moment).limit is None) == is_open

    def check_reset(self):
        """To the instant: something is in the window before its reset, nothing at it."""
        standing = self.counters.standing(self.rule, self.now)
        for name, total in (("requests", standing.requests), ("tokens", standing.tokens)):
            if not total:
                continue
            reset_at = getattr(standing, f"{name}_reset_at")
            if not standing.held_tokens:  # else tokens wait for the requests that hold them
                assert getattr(self.counters.standing(self.rule, before(reset_at)), name)
            assert not getattr(self.counters.standing(self.rule, reset_at), name)
            return  # the other one's moment may be over


small, share = st.integers(0, 30), st.floats(0, 1.2)
STEP = st.one_of(
    st.tuples(st.just("move"), st.one_of(st.floats(0, 0.05), share)),
    st.tuples(st.just("reserve"), small, small),
    st.tuples(st.just("reserve"), small, small),
    st.tuples(st.just("settle"), small, st.booleans(), small, small),
    st.tuples(st.just("charge"), share, st.integers(0, 2), small, small),
)
BACK = st.tuples(st.just("move"), st.floats(-3, 0))
LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "max_requests": st.integers(1, 6),
        "max_total_tokens": st.integers(1, 90),
        "max_cost": st.integers(1, 90),
        "max_concurrent": st.integers(1, 4),
    },
)
bounded = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
    phases=[Phase.generate],  # to make a failing example smaller can take minutes
)


def play(counters, window_s, limits, steps):
    model = Model(counters, a_rule(window_s, **limits))
    for name, *arguments in steps:
        getattr(model, name)(*arguments)
        model.check()
    model.check_opening()
    model.check_reset()


@given(st.sampled_from(LENGTHS), LIMITS, st.lists(STEP, max_size=30))
@bounded
def test_whatever_happens_nothing_leaves_early_or_more_than_a_bucket_late(
    counters, window_s, limits, steps
):
    play(counters, window_s, limits, steps)


@given(st.sampled_from(LENGTHS), LIMITS, st.lists(st.one_of(STEP, BACK), max_size=30))
@bounded
def test_whatever_the_clock_does_nothing_leaves_early(counters, window_s, limits, steps):
    play(counters, window_s, limits, steps)
