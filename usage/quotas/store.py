"""Where quotas are counted on this server, and counters made from the books where they are missing."""

import logging
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from accounts.runtime import env
from core.files import exclusive
from usage.drain import drain
from usage.models import QuotaRule
from usage.quotas.history import used
from usage.quotas.limiter import Counters
from usage.quotas.local_counters import LocalCounters
from usage.quotas.terms import CountersAwayError, Rule

if TYPE_CHECKING:
    from usage.quotas.redis_counters import RedisCounters

log = logging.getLogger("gatehouse.quotas")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
DRAIN_S = 10.0


def counters() -> "LocalCounters | RedisCounters":
    """Where this process counts: Redis where several machines share it, else files of this machine."""
    return _counters(env().redis_url, env().data_path / "state" / "quotas")


@cache
def _counters(redis_url: str, folder: Path) -> "LocalCounters | RedisCounters":
    if redis_url:
        from usage.quotas.redis_counters import RedisCounters  # its import costs who has none

        return RedisCounters(redis_url)
    forget_after_boot(folder)
    return LocalCounters(folder)


def lane_counters() -> Counters:
    """The same for the lane, whose loop waits for nothing but coroutines."""
    if env().redis_url:
        from usage.quotas.redis_counters import AsyncRedisCounters

        return AsyncRedisCounters(env().redis_url)
    return counters()


def forget_after_boot(folder: Path) -> None:
    """Remove counters of before the machine last started: a loss of power may have torn them, and
    they are made from the books again.
    """
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
    mark = folder / "boot"
    with exclusive(folder / "boot.lock"):
        if mark.exists() and mark.read_text() == boot:
            return
        for path in folder.glob("*.quota"):
            path.unlink()
        mark.write_text(boot)


def forget_counters_without_rule() -> None:
    """Files of rules that went with their user or key. (Redis lets go of such counters by itself.)"""
    if isinstance(store := counters(), LocalCounters):
        there = {str(pk) for pk in QuotaRule.objects.values_list("pk", flat=True)}
        for rule_id in store.rule_ids() - there:
            try:
                store.forget(rule_id)
            except CountersAwayError:
                continue  # the next round comes


def make_counters(rules: Iterable[Rule]) -> None:
    """Count what the books say of each rule's window, where nobody counts it yet.

    One process of a machine at a time; a rule that cannot be counted now stays without counters, and
    requests under it are refused or served as where the store is away.
    """
    try:
        if not (missing := [rule for rule in rules if not counters().exists(rule)]):
            return
        with exclusive(env().data_path / "state" / "quota-making.lock"):
            drain(DRAIN_S)
            for rule in missing:
                if not counters().exists(rule):
                    now = time.time()
                    counters().fill(rule, used(rule, now), now, only_missing=True)
    except CountersAwayError as exc:
        log.warning("quota counters could not be made: %s", exc)
