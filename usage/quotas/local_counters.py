"""Quota counters shared by the processes of one machine through one small mapped file per rule.

Synchronous: an operation takes microseconds. Where another process has the file, what the event
loop asks for waits 10 ms at the most and is the caller's to try again; the rest waits for a second. The
files survive a restart. After a loss of power they may be torn: whoever starts then fills them anew.
"""

import itertools
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from usage.quotas.counter_file import CounterFile
from usage.quotas.counter_layout import is_sound, lock_by, retire, write_new
from usage.quotas.terms import (
    CountersAwayError,
    CountersBusyError,
    CountersMissingError,
    Hold,
    Refused,
    Rule,
    Standing,
)
from usage.quotas.window import Contents, cells_of, left, refusing, standing_of, window_of

SUFFIX = ".quota"
FILES_OPEN = 256
WAIT_S, LOOP_WAIT_S = 1.0, 0.01


@dataclass(slots=True)
class _Claim:
    """This process's entry in the file of a rule."""

    rule: Rule
    slot: int
    token: int
    live: int = 0


class _Mutex:
    """Keeps the other threads of this process out: the lock of a file lets them in."""

    __slots__ = ("_lock", "_wait_s")

    def __init__(self, lock: threading.Lock, wait_s: float) -> None:
        self._lock = lock
        self._wait_s = wait_s

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=self._wait_s):
            raise CountersBusyError("the counters are in use by another thread")

    def __exit__(self, *_exc: object) -> None:
        self._lock.release()


class LocalCounters:
    """The counters of one folder. Usable from several threads, and after a fork.

    Every method raises CountersBusyError where a file cannot be had in time, CountersAwayError where
    it cannot be had at all, and (but for `fill`, `exists`, `forget`, `settle`) CountersMissingError where
    a rule has none.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._start()
        _instances.add(self)

    def _start(self) -> None:
        self._files: OrderedDict[str, CounterFile] = OrderedDict()
        self._claims: dict[str, _Claim] = {}
        lock = threading.Lock()
        self._mutex, self._mutex_of_loop = _Mutex(lock, WAIT_S), _Mutex(lock, LOOP_WAIT_S)
        self._name = os.urandom(10).hex()
        self._serial = itertools.count()

    def after_fork(self) -> None:
        """In a child: let go of the parent's files, whose locks it would share, and its holds."""
        files = self._files
        self._start()
        for file in files.values():
            file.close()

    def close(self) -> None:
        """Close all files. Live holds stay until they expire."""
        with self._mutex:
            while self._files:
                self._files.popitem()[1].close()
            self._claims.clear()

    def reserve(self, rules: Sequence[Rule], tokens: int, cost: int, now: float) -> Hold | Refused:
        """Admit one request under all of these (distinct) rules, or under none.

        What is held for a rule is cut to what it has left (S-52); a rule without a limit on tokens
        or cost holds none of it.
        """
        with self._mutex_of_loop:
            files = self._lock(rules, now, LOOP_WAIT_S)
            try:
                found = []
                for rule, file in zip(rules, files, strict=True):
                    contents = file.contents()
                    limit = refusing(rule, contents)
                    if limit is not None:
                        return Refused(rule, limit, standing_of(rule, now, contents, file.column))
                    found.append((rule, file, contents))
                return self._take(found, tokens, cost, now)
            finally:
                self._unlock(files)

    def _take(
        self, found: list[tuple[Rule, CounterFile, Contents]], tokens: int, cost: int, now: float
    ) -> Hold:
        now_us = int(now * 1_000_000)
        claims = [self._claim(rule, file, now_us) for rule, file, _ in found]
        parts = []
        least_tokens = least_cost = None
        for (rule, file, before), claim in zip(found, claims, strict=True):
            held_tokens = held_cost = 0
            if rule.max_total_tokens is not None:
                room = left(rule.max_total_tokens, before.tokens, before.held_tokens)
                held_tokens = min(tokens, room)
                if least_tokens is None or held_tokens < least_tokens:
                    least_tokens = held_tokens
            if rule.max_cost is not None:
                held_cost = min(cost, left(rule.max_cost, before.cost, before.held_cost))
                if least_cost is None or held_cost < least_cost:
                    least_cost = held_cost
            bucket = file.take(claim.slot, now, held_tokens, held_cost)
            claim.live += 1
            standing = standing_of(rule, now, file.contents(), file.column)
            parts.append((rule, bucket, held_tokens, held_cost, standing))
        hold = Hold(parts, least_tokens, least_cost, now, f"{self._name}{next(self._serial):012x}")
        hold.entries = tuple([(claim.slot, claim.token) for claim in claims])
        return hold

    def settle(self, hold: Hold, counted: bool, tokens: int, cost: int, now: float) -> None:  # noqa: FBT001  # the contract's order
        """Give a hold back and add what was used to the bucket of admission.

        Not `counted` takes the request back instead (S-17). A bucket that has left the window takes
        nothing. A second call does nothing; after CountersAwayError nothing was done, and it may be
        tried again. A rule that was forgotten meanwhile has nothing to settle.
        """
        with self._mutex_of_loop:
            if hold.settled:
                return
            used = (tokens, cost) if counted else None
            files = self._lock_present([part[0] for part in hold.parts], now, LOOP_WAIT_S)
            try:
                for part, entry, file in zip(hold.parts, hold.entries, files, strict=True):
                    rule, bucket, held_tokens, held_cost, _ = part
                    if file is not None:
                        file.settle(entry, bucket, (held_tokens, held_cost), used)
                    claim = self._claims.get(rule.id)
                    if claim is not None and entry[1] == claim.token:
                        claim.live -= 1
                hold.settled = True
            finally:
                self._unlock(files)

    def charge(  # noqa: PLR0917  # the contract's order
        self, rule: Rule, at: float, requests: int, tokens: int, cost: int, now: float
    ) -> None:
        """Add to the bucket of `at`; negative amounts take away, never below 0.

        Nothing where that bucket has left the window at `now`.
        """
        with self._locked(rule, now) as file:
            window = file.window
            bucket = window.bucket(at)
            if bucket >= window.bucket(now) - window.buckets:
                file.add(bucket, requests, tokens, cost)

    def fill(
        self,
        rule: Rule,
        used: Iterable[tuple[float, int, int, int]],
        now: float,
        *,
        only_missing: bool = False,
    ) -> None:
        """Make the counters of a rule from its history of (at, requests, tokens, cost).

        Where they exist, what is settled is replaced; live holds and their requests stay. With
        `only_missing` those that exist are left alone: so of several processes that find them
        missing at once, the later ones do not undo what was counted since the first.
        """
        window = window_of(rule.window_s)
        cells = cells_of(window, used, now)
        head = window.bucket(now)
        with self._making(), self._mutex:
            file = self._lock_one(rule, time.monotonic() + WAIT_S)
            if file is None:
                try:
                    retire(self._path(rule.id), time.monotonic() + WAIT_S)
                    write_new(self._path(rule.id), window, head, cells)
                except OSError as exc:
                    raise CountersAwayError(str(exc)) from exc
                return
            try:
                if not (only_missing and file.is_whole()):
                    file.refill(head, cells, now)
            finally:
                file.unlock()

    def standing(self, rule: Rule, now: float) -> Standing:
        """What the rule's window holds at `now`."""
        with self._locked(rule, now) as file:
            return standing_of(rule, now, file.contents(), file.column)

    def exists(self, rule: Rule) -> bool:
        """Whether the rule has counters that are sound and of its window; a look at the file's head."""
        return is_sound(self._path(rule.id), window_of(rule.window_s))

    def forget(self, rule_id: str) -> None:
        """Remove the counters of a rule, for all processes."""
        with self._making(), self._mutex:
            self._claims.pop(rule_id, None)
            self._drop(rule_id)
            path = self._path(rule_id)
            try:
                retire(path, time.monotonic() + WAIT_S)
                path.unlink(missing_ok=True)
            except OSError as exc:
                raise CountersAwayError(str(exc)) from exc

    def rule_ids(self) -> set[str]:
        """The rules that are counted, whether or not they are still rules."""
        return {path.stem for path in self._folder.glob(f"*{SUFFIX}")}

    def beat(self, now: float) -> None:
        """Refresh the holds of this process; wanted every 15 s, for they expire after 45 s."""
        now_us = int(now * 1_000_000)
        failed: CountersAwayError | None = None
        for rule_id, claim in list(self._claims.items()):
            with self._mutex_of_loop:
                try:
                    file = self._lock_one(claim.rule, time.monotonic() + LOOP_WAIT_S)
                except CountersAwayError as exc:
                    failed = exc
                    continue
                live = 0
                if file is not None:
                    live = file.beat(claim.slot, claim.token, now_us) if claim.live else 0
                    file.unlock()
                if self._claims.get(rule_id) is claim:
                    if live:
                        claim.live = live
                    else:
                        del self._claims[rule_id]
        if failed is not None:
            raise failed

    def _path(self, rule_id: str) -> Path:
        return self._folder / f"{rule_id}{SUFFIX}"

    @contextmanager
    def _making(self) -> Iterator[None]:
        """Keep other processes from making or removing files; counting goes on meanwhile."""
        try:
            fd = os.open(self._folder / ".making", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise CountersAwayError(str(exc)) from exc
        try:
            lock_by(fd, time.monotonic() + WAIT_S)
            yield
        finally:
            os.close(fd)

    @contextmanager
    def _locked(self, rule: Rule, now: float) -> Iterator[CounterFile]:
        with self._mutex:
            (file,) = self._lock([rule], now, WAIT_S)
            try:
                yield file
            finally:
                file.unlock()

    def _lock(self, rules: Sequence[Rule], now: float, wait_s: float) -> list[CounterFile]:
        """The files of these rules, locked and ready, in the order of the rules."""
        found = self._lock_present(rules, now, wait_s)
        if None not in found:
            return cast("list[CounterFile]", found)
        self._unlock(found)
        raise CountersMissingError(rules[found.index(None)].id)

    def _lock_present(
        self, rules: Sequence[Rule], now: float, wait_s: float
    ) -> list[CounterFile | None]:
        """As `_lock`, with None for what is missing."""
        deadline = time.monotonic() + wait_s
        if len(rules) == 1:
            return [self._lock_ready(rules[0], deadline, now)]
        locked: dict[str, CounterFile | None] = {}
        try:
            for rule in sorted(rules, key=lambda rule: rule.id):  # else two could wait in a ring
                locked[rule.id] = self._lock_ready(rule, deadline, now)
        except BaseException:
            self._unlock(locked.values())
            raise
        return [locked[rule.id] for rule in rules]

    @staticmethod
    def _unlock(files: Iterable[CounterFile | None]) -> None:
        for file in files:
            if file is not None:
                file.unlock()

    def _lock_ready(self, rule: Rule, deadline: float, now: float) -> CounterFile | None:
        file = self._lock_one(rule, deadline)
        if file is None or file.ready(now):
            return file
        file.unlock()
        return None

    def _lock_one(self, rule: Rule, deadline: float) -> CounterFile | None:
        """The file of a rule, locked; None where there is none that is sound and of its window."""
        file = self._files.get(rule.id)
        if file is not None:
            self._files.move_to_end(rule.id)
            if file.window.seconds == rule.window_s and file.lock(deadline):
                return file
            self._drop(rule.id)
        self._let_go(FILES_OPEN)
        try:
            file = self._files[rule.id] = CounterFile(self._path(rule.id), window_of(rule.window_s))
        except CountersMissingError:
            return None
        except (OSError, ValueError) as exc:  # ValueError: it was cut short meanwhile
            raise CountersAwayError(str(exc)) from exc
        if file.lock(deadline):
            return file
        self._drop(rule.id)
        return None

    def _let_go(self, n_kept: int) -> None:
        """Close files that were used longest ago, but none that is locked now."""
        for rule_id in list(self._files):
            if len(self._files) <= n_kept:
                return
            if not self._files[rule_id].is_locked:
                self._files.pop(rule_id).close()

    def _drop(self, rule_id: str) -> None:
        file = self._files.pop(rule_id, None)
        if file is not None:
            file.close()

    def _claim(self, rule: Rule, file: CounterFile, now_us: int) -> _Claim:
        claim = self._claims.get(rule.id)
        if claim is None or not file.is_claimed(claim.slot, claim.token):
            claim = self._claims[rule.id] = _Claim(rule, *file.claim(now_us))
        return claim


_instances: "weakref.WeakSet[LocalCounters]" = weakref.WeakSet()


def _after_fork() -> None:
    for counters in list(_instances):
        counters.after_fork()


os.register_at_fork(after_in_child=_after_fork)
