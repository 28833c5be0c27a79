"""What is admitted, what is held for it, and what stays when it ends."""

import pytest

from usage.quotas.local_counters import LocalCounters
from usage.quotas.terms import MOST, CountersAwayError, CountersMissingError, Hold, Refused
from usage.tests.quotas.conftest import a_rule

NOW = 1_800_000_000.0


@pytest.fixture
def filled(counters):
    """Makes rules with empty counters."""

    def make(*rules):
        for rule in rules:
            counters.fill(rule, [], NOW)
        return rules[0] if len(rules) == 1 else rules

    return make


def admit(counters, rules, tokens=0, cost=0, now=NOW):
    hold = counters.reserve(rules, tokens, cost, now)
    assert isinstance(hold, Hold)
    return hold


def sums(standing):
    return (standing.requests, standing.tokens, standing.cost)


def held(standing):
    return (standing.concurrent, standing.held_tokens, standing.held_cost)


def test_a_request_is_counted_at_once_and_the_one_over_the_limit_refused(counters, other, filled):
    rule = filled(a_rule(max_requests=2))

    admit(counters, [rule])
    admit(other, [rule])
    refused = counters.reserve([rule], 0, 0, NOW)

    assert isinstance(refused, Refused)
    assert (refused.rule, refused.limit) == (rule, "requests")
    assert refused.standing == other.standing(rule, NOW)
    assert sums(refused.standing) == (2, 0, 0)


def test_what_is_held_is_cut_to_what_is_left(counters, filled):
    rule = filled(a_rule(max_total_tokens=100, max_cost=1000))

    first = admit(counters, [rule], 70, 10)
    second = admit(counters, [rule], 70, 5000)

    assert (first.tokens, first.cost) == (70, 10)
    assert (second.tokens, second.cost) == (30, 990)
    assert [part[2:4] for part in second.parts] == [(30, 990)]
    refused = counters.reserve([rule], 1, 1, NOW)
    assert (refused.limit, held(refused.standing)) == ("tokens", (2, 100, 1000))


def test_what_is_held_for_cost_alone_refuses_by_cost(counters, filled):
    rule = filled(a_rule(max_cost=10**15))

    admit(counters, [rule], 5, 10**15)

    assert counters.reserve([rule], 5, 1, NOW).limit == "cost"


def test_tokens_settled_and_held_count_against_the_limit_together(counters, filled):
    rule = filled(a_rule(max_total_tokens=100))
    counters.settle(admit(counters, [rule], 50), True, 60, 7, NOW)

    hold = admit(counters, [rule], 500)

    assert hold.tokens == 40
    assert sums(hold.parts[0][4]) == (2, 60, 7)
    assert held(hold.parts[0][4]) == (1, 40, 0)


def test_a_rule_without_limits_holds_nothing_and_counts_all(counters, filled):
    rule = filled(a_rule())

    hold = admit(counters, [rule], 50, 60)
    assert (hold.tokens, hold.cost) == (None, None)
    assert held(counters.standing(rule, NOW)) == (1, 0, 0)
    counters.settle(hold, True, 12, 34, NOW)

    assert sums(counters.standing(rule, NOW)) == (1, 12, 34)
    assert held(counters.standing(rule, NOW)) == (0, 0, 0)


def test_requests_at_the_same_time_are_limited_until_one_ends(counters, other, filled):
    rule = filled(a_rule(max_concurrent=2))
    first = admit(counters, [rule])
    admit(other, [rule])

    refused = other.reserve([rule], 0, 0, NOW)
    assert (refused.limit, refused.standing.opens_at) == ("concurrent", NOW + 1)
    counters.settle(first, True, 0, 0, NOW)
    admit(other, [rule])


def test_all_rules_admit_or_none_counts_anything(counters, filled):
    wide, narrow = filled(a_rule(max_requests=9, max_total_tokens=50), a_rule(max_requests=1))
    admit(counters, [narrow])

    refused = counters.reserve([wide, narrow], 10, 0, NOW)

    assert (refused.rule, refused.limit) == (narrow, "requests")
    assert sums(counters.standing(wide, NOW)) == (0, 0, 0)
    assert held(counters.standing(wide, NOW)) == (0, 0, 0)


def test_the_first_rule_that_refuses_is_the_one_reported(counters, filled):
    one, two = filled(a_rule(max_requests=0), a_rule(max_total_tokens=0))

    assert counters.reserve([two, one], 1, 1, NOW).rule == two
    assert counters.reserve([one, two], 1, 1, NOW).rule == one


def test_the_least_granted_over_all_rules_is_the_request_s(counters, filled):
    rules = filled(a_rule(max_total_tokens=80), a_rule(max_total_tokens=30), a_rule(max_cost=9))

    hold = admit(counters, list(rules), 50, 50)

    assert (hold.tokens, hold.cost) == (30, 9)
    assert [part[0] for part in hold.parts] == list(rules)
    assert [part[2:4] for part in hold.parts] == [(50, 0), (30, 0), (0, 9)]
    counters.settle(hold, True, 25, 3, NOW)
    assert [sums(counters.standing(rule, NOW)) for rule in rules] == [(1, 25, 3)] * 3
    assert [held(counters.standing(rule, NOW)) for rule in rules] == [(0, 0, 0)] * 3


def test_without_rules_all_is_admitted(counters):
    hold = admit(counters, [], 5, 5)

    assert (hold.parts, hold.tokens, hold.cost) == ([], None, None)
    counters.settle(hold, True, 5, 5, NOW)


def test_a_request_that_does_not_count_is_taken_back(counters, filled):
    """S-17."""
    rule = filled(a_rule(max_requests=1, max_total_tokens=10))

    counters.settle(admit(counters, [rule], 10), False, 5, 5, NOW)

    standing = counters.standing(rule, NOW)
    assert sums(standing) + held(standing) == (0,) * 6
    admit(counters, [rule])


def test_a_second_settlement_does_nothing(counters, filled):
    rule = filled(a_rule())
    hold = admit(counters, [rule])

    counters.settle(hold, True, 5, 6, NOW)
    counters.settle(hold, True, 5, 6, NOW)
    counters.settle(hold, False, 0, 0, NOW)

    assert hold.settled
    assert sums(counters.standing(rule, NOW)) == (1, 5, 6)
    assert held(counters.standing(rule, NOW)) == (0, 0, 0)


def test_use_goes_to_the_bucket_of_admission(counters, filled):
    rule = filled(a_rule(60))
    hold = admit(counters, [rule])
    counters.beat(NOW + 40)

    counters.settle(hold, True, 5, 6, NOW + 50)

    assert sums(counters.standing(rule, NOW + 60)) == (1, 5, 6)
    assert sums(counters.standing(rule, NOW + 61)) == (0, 0, 0)


def test_a_bucket_that_has_left_takes_nothing_and_the_hold_is_given_back(counters, filled):
    rule = filled(a_rule(10, max_total_tokens=100))
    hold = admit(counters, [rule], 60)

    counters.settle(hold, True, 5, 6, NOW + 30)

    standing = counters.standing(rule, NOW + 30)
    assert sums(standing) + held(standing) == (0,) * 6


def test_a_charge_goes_to_its_bucket_and_never_below_nothing(counters, filled):
    rule = filled(a_rule(60))
    counters.charge(rule, NOW - 30, 2, 50, 70, NOW)
    counters.charge(rule, NOW - 30, -1, -60, -20, NOW)

    assert sums(counters.standing(rule, NOW)) == (1, 0, 50)
    counters.charge(rule, NOW - 20, -5, 3, -5, NOW)  # other buckets are not touched by it
    assert sums(counters.standing(rule, NOW)) == (1, 3, 50)
    assert sums(counters.standing(rule, NOW + 31)) == (0, 3, 0)


def test_a_charge_from_before_the_window_is_nothing(counters, filled):
    rule = filled(a_rule(60))

    counters.charge(rule, NOW - 62, 1, 1, 1, NOW)

    assert sums(counters.standing(rule, NOW)) == (0, 0, 0)


def test_counters_are_made_from_history(counters):
    rule = a_rule(3600, max_requests=4)
    history = [(NOW - 3700, 9, 9, 9), (NOW - 3000, 1, 10, 100), (NOW, 2, 20, 200)]
    assert not counters.exists(rule)
    with pytest.raises(CountersMissingError):
        counters.reserve([rule], 0, 0, NOW)

    counters.fill(rule, iter(history), NOW)

    assert counters.exists(rule)
    assert sums(counters.standing(rule, NOW)) == (3, 30, 300)
    assert sums(counters.standing(rule, NOW + 700)) == (2, 20, 200)


def test_filling_again_replaces_what_is_settled_and_keeps_live_holds(counters, other, filled):
    rule = filled(a_rule(60, max_total_tokens=1000))
    first = admit(counters, [rule], 100)
    counters.settle(admit(counters, [rule]), True, 77, 7, NOW)
    second = admit(counters, [rule], 10, now=NOW + 20)

    other.fill(rule, [(NOW + 1, 3, 30, 300)], NOW + 20)

    standing = counters.standing(rule, NOW + 20)
    assert sums(standing) + held(standing) == (5, 30, 300, 2, 110, 0)
    assert counters.standing(rule, NOW + 61).requests == 4  # the first hold's, in its own bucket
    counters.settle(second, False, 0, 0, NOW + 61)
    counters.settle(first, True, 5, 0, NOW + 61)
    assert sums(counters.standing(rule, NOW + 61)) == (3, 30, 300)


def test_filling_where_missing_leaves_what_another_made(counters, other):
    rule = a_rule()
    counters.fill(rule, [(NOW, 1, 1, 1)], NOW, only_missing=True)
    counters.settle(admit(counters, [rule]), True, 5, 5, NOW)

    other.fill(rule, [(NOW, 1, 1, 1)], NOW, only_missing=True)

    assert sums(counters.standing(rule, NOW)) == (2, 6, 6)


def test_forgotten_counters_are_missing_for_everybody(counters, other, filled):
    rule = filled(a_rule())
    hold = admit(counters, [rule])
    other.standing(rule, NOW)

    counters.forget(rule.id)

    for each in (counters, other):
        assert not each.exists(rule)
        for call in (
            lambda each=each: each.standing(rule, NOW),
            lambda each=each: each.reserve([rule], 0, 0, NOW),
            lambda each=each: each.charge(rule, NOW, 1, 1, 1, NOW),
        ):
            with pytest.raises(CountersAwayError):
                call()
    counters.settle(hold, True, 5, 5, NOW)
    counters.beat(NOW)
    counters.forget(rule.id)
    other.fill(rule, [], NOW)
    assert counters.exists(rule)


def test_one_missing_rule_lets_nothing_be_counted(counters, filled):
    there, gone = filled(a_rule()), a_rule()

    with pytest.raises(CountersMissingError):
        counters.reserve([there, gone], 0, 0, NOW)

    assert counters.standing(there, NOW).requests == 0


def test_counters_of_another_window_are_missing(counters, filled):
    rule = filled(a_rule(3600))
    admit(counters, [rule])
    longer = type(rule)(rule.id, rule.user_id, None, "", 7200)
    assert not counters.exists(longer)

    counters.fill(longer, [(NOW - 5000, 1, 1, 1)], NOW)

    assert counters.standing(longer, NOW).tokens == 1
    assert not counters.exists(rule)


def test_a_hold_outlives_its_process_by_45_seconds_and_its_request_stays(counters, other, filled):
    rule = filled(a_rule(max_concurrent=1, max_total_tokens=100))
    hold = admit(counters, [rule], 100)

    assert other.reserve([rule], 1, 0, NOW + 44.9).limit == "tokens"
    standing = other.standing(rule, NOW + 45)
    assert sums(standing) + held(standing) == (1, 0, 0, 0, 0, 0)
    admit(other, [rule], 1, now=NOW + 45)
    counters.settle(hold, True, 20, 0, NOW + 46)  # it was only asleep: nothing is given back twice
    standing = other.standing(rule, NOW + 46)
    assert sums(standing) + held(standing) == (2, 20, 0, 1, 1, 0)


def test_a_beat_keeps_the_holds_of_its_process_only(counters, other, filled):
    rules = filled(a_rule(), a_rule())
    admit(counters, list(rules))
    admit(other, list(rules))

    counters.beat(NOW + 40)

    assert [held(counters.standing(rule, NOW + 50))[0] for rule in rules] == [1, 1]
    assert [held(counters.standing(rule, NOW + 85))[0] for rule in rules] == [0, 0]


def test_a_beat_with_nothing_held_does_nothing(counters, filled):
    rule = filled(a_rule())
    counters.settle(admit(counters, [rule]), True, 1, 1, NOW)

    counters.beat(NOW + 15)
    counters.beat(NOW + 30)

    admit(counters, [rule], now=NOW + 31)
    assert counters.standing(rule, NOW + 31).concurrent == 1


def test_large_sums_are_exact_and_stop_at_2_to_the_53(counters, filled):
    rule = filled(a_rule(max_cost=MOST))
    for _ in range(9):
        counters.charge(rule, NOW, 0, 0, 10**15 - 1, NOW)
    assert counters.standing(rule, NOW).cost == 9 * 10**15 - 9

    hold = admit(counters, [rule], 0, 10**15)
    assert hold.cost == MOST - (9 * 10**15 - 9)
    counters.settle(hold, True, 0, 10**15, NOW)

    assert counters.standing(rule, NOW).cost == MOST
    assert counters.reserve([rule], 0, 1, NOW).limit == "cost"
    counters.charge(rule, NOW, 0, 0, -MOST, NOW)
    assert counters.standing(rule, NOW).cost == 0


def test_every_hold_has_an_id_of_its_own(counters, other, filled):
    rule = filled(a_rule())

    assert len({admit(each, [rule]).id for each in (counters, other) for _ in range(20)}) == 40


def test_a_store_knows_which_rules_it_counts(counters, filled):
    if not isinstance(counters, LocalCounters):
        pytest.skip("Redis lets go of unused counters by itself; see test_redis.py")
    one, two = filled(a_rule(max_requests=1), a_rule(max_requests=2))

    assert {one.id, two.id} <= counters.rule_ids()
    counters.forget(one.id)
    assert one.id not in counters.rule_ids()
