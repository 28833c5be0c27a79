"""Kills everywhere under load, and afterwards the books: every answer once, with what its caller was told.

`GATEHOUSE_CHAOS_S` is how long it goes on for, for each database (60 seconds).
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.faults.monkey import Monkey
from tests.postgresql import Cluster
from tests.servers import PASSWORD, ROOT, Server
from tests.stub import StubEngine

CHAOS_S = float(os.environ.get("GATEHOUSE_CHAOS_S", "60"))
N_PEOPLE = 18
PROMPT_TOKENS = 12  # what the stub says of every prompt
SUMMED = ("prompt_tokens", "completion_tokens", "cached_tokens", "cost")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(CHAOS_S + 240)]


@dataclass
class Seen:
    """Both sides of it: what callers were told by correlation id, and the exported events."""

    told: dict[str, dict]
    events: list[dict]
    people: list[str]
    monkey: Monkey

    def by_cid(self) -> dict[str, list[dict]]:
        found = defaultdict(list)
        for event in self.events:
            found[event["correlation_id"]].append(event)
        return found


@pytest.fixture(params=["sqlite", "postgresql"])
def cluster(request):
    """A PostgreSQL of this test's own, or None for SQLite.

    Not below pytest's folder: the next run of pytest closes that to the user that PostgreSQL runs as.
    """
    if request.param == "sqlite":
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="gatehouse-chaos-") as folder:
        made = Cluster(Path(folder) / "postgresql")
        yield made
        made.stop()


@pytest.fixture
def engine():
    made = StubEngine()
    yield made
    made.stop()


@pytest.fixture
def server(tmp_path, cluster, engine):
    more = {} if cluster is None else {"LOCALAI_AUTH_DATABASE_URL": cluster.url("gatehouse")}
    made = Server(
        tmp_path,
        web_only=True,
        LOCALAI_ENGINES=f"m={engine.url}",
        LOCALAI_WEB_WORKERS="4",
        LOCALAI_REGISTRATION_MODE="open",
        **more,
    )
    yield made
    made.stop()


def test_every_answer_is_in_the_books_once_whatever_is_killed(server, cluster, engine):
    people, keys = people_of(server)
    seed = random.SystemRandom().randrange(10**6)
    monkey = Monkey(server, cluster, seed)
    told = lived_through(server, keys, monkey)
    until_quiet(server, engine)
    seen = Seen(told, exported(server), people, monkey)
    say(seen, seed, server)

    check_statuses(seen)
    check_whole_answers(seen)
    check_broken_off(seen)
    check_reports(seen, server)
    check_books(server)
    assert answered_without_database(seen) > 0
    assert not (server.folder / "data" / "journal" / "rejected").exists()


@pytest.mark.parametrize("cluster", ["postgresql"], indirect=True)
def test_a_worker_that_falls_while_the_database_is_away_ends_nobody_else(server, cluster):
    """Its successor waits; whom the others remember is served meanwhile."""
    with server.client() as client:
        for _ in range(40):  # on connections of their own, so that every worker gets some
            answer = client.get("/v1/models", headers={"connection": "close"})
            assert answer.status_code == 200
        before = server.web_workers()
        cluster.kill()
        try:
            os.kill(before[0], signal.SIGKILL)
            server.until(lambda: "the database cannot be read" in server.log.read_text(), 20)
            time.sleep(2)
            statuses = {
                client.get("/v1/models", headers={"connection": "close"}).status_code
                for _ in range(20)
            }
            stranger = client.get("/v1/models", headers={"authorization": "Bearer lai-unknown"})
        finally:
            cluster.start()
        server.until(server.answers, 20)

    assert server.process.poll() is None
    assert set(before[1:]) < set(server.web_workers())
    assert 200 in statuses
    assert statuses <= {200, 503}
    assert (stranger.status_code, stranger.headers["retry-after"]) == (503, "5")
    assert "Traceback" not in server.log.read_text()


def people_of(server) -> tuple[list[str], list[str]]:
    """The ids and the keys of as many accounts; and a price, so that there are costs."""
    ids, keys = [], []
    for number in range(N_PEOPLE):
        with httpx.Client(base_url=server.url, timeout=20) as browser:
            body = {"email": f"p{number}@example.org", "password": PASSWORD}
            answer = browser.post("/api/auth/register", json=body)
            assert answer.status_code == 201, answer.text
            ids.append(answer.json()["user"]["id"])
            keys.append(browser.post("/api/auth/api-keys", json={"name": "k"}).json()["key"])
    with server.client() as admin:
        price = {"model": "m", "prompt": 3, "completion": 7}
        assert admin.post("/api/auth/admin/prices", json=price).status_code == 201
    return ids, keys


def lived_through(server, keys, monkey) -> dict[str, dict]:
    """What callers were told, by correlation id, while the monkey was at it."""
    out = server.folder / "told.jsonl"
    command = [sys.executable, "-m", "tests.faults.crowd", server.url, str(CHAOS_S), str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, cwd=ROOT) as crowd:
        try:
            crowd.stdin.write("\n".join(keys))
            crowd.stdin.close()
            time.sleep(3)  # everybody is known to every worker by then
            monkey.rage(CHAOS_S - 5)
            assert crowd.wait(60) == 0
        finally:
            crowd.kill()
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert len({each["cid"] for each in found}) == len(found)
    return {each["cid"]: each for each in found}


def until_quiet(server, engine) -> None:
    """The engine is idle, every server process is there, and two exports are alike."""
    server.until(server.answers, 60)
    server.until(lambda: engine.state()["active"] == 0, 60)
    server.until(lambda: server.processes("runbackground"), 30)

    def alike() -> bool:
        before = len(exported(server))
        time.sleep(2)
        return before == len(exported(server))

    server.until(alike, 60)


def exported(server) -> list[dict]:
    """Every event of the chaos, as the admin's export has it; none where it cannot be had yet."""
    with server.client() as admin:
        try:
            answer = admin.get("/api/auth/admin/usage/export?format=jsonl&period=day")
        except httpx.HTTPError:
            return []
    lines = answer.text.splitlines() if answer.status_code == 200 else []
    events = [json.loads(line) for line in lines]
    return [event for event in events if event["correlation_id"].startswith("chaos-")]


def say(seen, seed, server) -> None:
    outcomes = Counter(each["outcome"] for each in seen.told.values())
    statuses = Counter(each["status"] for each in seen.told.values())
    away = sum(end - begin for begin, end in seen.monkey.away)
    recorded = seen.by_cid()
    unrecorded = sum(cid not in recorded for cid in seen.told)
    sure = sum(each["sure"] for each in seen.told.values() if each["outcome"] != "whole")
    print(
        f"\nchaos seed={seed} requests={len(seen.told)} {dict(outcomes)} statuses={dict(statuses)} "
        f"events={len(seen.events)} unrecorded={unrecorded} sure_tokens={sure} "
        f"kills={dict(seen.monkey.done)} away_s={away:.0f} "
        f"200_while_away={answered_without_database(seen)} "
        f"people_undisturbed={len(undisturbed(seen))} "
        f"tracebacks={server.log.read_text().count('Traceback')}"
    )


def check_statuses(seen) -> None:
    """A key that is good is never refused as a bad one, and nothing fails in another way than 503."""
    assert {each["status"] for each in seen.told.values()} <= {0, 200, 503}


def check_whole_answers(seen) -> None:
    recorded = seen.by_cid()
    for cid, told in seen.told.items():
        if told["outcome"] != "whole":
            continue
        assert len(recorded[cid]) == 1, (told, recorded[cid])
        (event,) = recorded[cid]
        assert told["usage"] is not None, told
        booked = [event["prompt_tokens"], event["completion_tokens"]]
        assert (booked, event["counted"], event["estimated"]) == (told["usage"], True, False), told
        assert event["user_id"] == seen.people[told["user"]]


def check_broken_off(seen) -> None:
    recorded = seen.by_cid()
    assert set(recorded) <= set(seen.told)
    for cid, told in seen.told.items():
        events = recorded[cid]
        assert len(events) <= 1, (told, events)
        if told["outcome"] == "whole":
            continue
        assert events or not told["seen"], told  # who saw output was admitted, and that is durable
        for event in events:
            assert told["sure"] <= event["completion_tokens"] <= told["asked"], (told, event)
            assert event["prompt_tokens"] in {0, PROMPT_TOKENS}, (told, event)
            assert event["counted"] or event["completion_tokens"] == 0, (told, event)


def undisturbed(seen) -> dict[int, list[dict]]:
    """The people whose requests all came to their end, with an answer or a refusal, by number."""
    by_person = defaultdict(list)
    for told in seen.told.values():
        by_person[told["user"]].append(told)
    return {
        number: mine
        for number, mine in by_person.items()
        if all(each["outcome"] == "whole" or each["status"] == 503 for each in mine)
    }


def check_reports(seen, server) -> None:
    """The sums are those of the events; of who was never disturbed, those of the answers themselves."""
    with server.client() as admin:
        answer = admin.get("/api/auth/admin/usage?period=all&group_by=user").json()
    rows = {row["user_id"]: row for row in answer["usage"]}
    for user_id in seen.people:
        mine = [event for event in seen.events if event["user_id"] == user_id]
        counted = [event for event in mine if event["counted"]]
        found = rows[user_id]
        for name in SUMMED:
            assert found[name] == sum(event[name] for event in counted), (user_id, name)
        assert found["request_count"] == len(counted)
        assert found["error_count"] == len(mine) - len(counted)
    for name in (*SUMMED, "request_count", "error_count"):
        assert answer["totals"][name] == sum(row[name] for row in rows.values())
    found_any = undisturbed(seen)
    assert found_any
    for number, told in found_any.items():
        found = rows[seen.people[number]]
        answers = [each["usage"] for each in told if each["outcome"] == "whole"]
        assert found["request_count"] == len(answers)
        assert found["error_count"] <= len(told) - len(answers)
        sums = [sum(usage[i] for usage in answers) for i in (0, 1)]
        assert [found["prompt_tokens"], found["completion_tokens"]] == sums


def check_books(server) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(ROOT) / "manage.py"), "checkbooks"],
        env=server.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The books balance." in done.stdout


def answered_without_database(seen) -> int:
    """How many requests began and were answered while the database was away."""
    return sum(
        begin <= told["begun"] and told["ended"] <= end
        for told in seen.told.values()
        if told["outcome"] == "whole"
        for begin, end in seen.monkey.away
    )
