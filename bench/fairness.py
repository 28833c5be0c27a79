"""Three users with unequal appetites at one saturated engine: what share of its tokens each gets.

`python -m bench.fairness` prints Jain's index of the users' tokens, (sum x)^2 / (n * sum x^2): 1 where
all have the same, 1/n where one has everything. Each user keeps its number of requests open. In
process: everything of the inference path but HTTP on our own side, against the stub engine.
"""

import asyncio
import dataclasses
import tempfile
from collections import Counter
from pathlib import Path

from bench.processes import LOAD, stub_engine
from core.errors import GatehouseError
from inference.endpoints import ENDPOINTS
from inference.handlers import infer
from inference.tests.rig import BOB, Rig

APPETITES = {"a": 40, "b": 12, "c": 4}
PLACES, TOKENS, ANSWER_S = 2, 20, 0.004


def jain(shares: list[int]) -> float:
    return sum(shares) ** 2 / (len(shares) * sum(x * x for x in shares))


async def shares(folder: Path, url: str, *, by_user: bool, seconds: float) -> Counter[str]:
    """Tokens per user, from the books, after `seconds` of saturation."""
    rig = Rig(folder, url, concurrency=PLACES)
    table = rig.runtime.engines
    table.by_user, table.max_waiting = by_user, 256
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds

    async def keep_asking(user: str) -> None:
        while loop.time() < ends:
            told = {"tokens": TOKENS, "tick": ANSWER_S}
            body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stub": told}
            call, answer = rig.call("chat-completions", body)
            call.principal = dataclasses.replace(BOB, user_id=user)
            await infer(call, answer, rig.runtime, ENDPOINTS["chat-completions"])

    tasks = [
        asyncio.create_task(keep_asking(user)) for user, n in APPETITES.items() for _ in range(n)
    ]
    await asyncio.sleep(seconds)
    for task in tasks:  # what still waits would be served after the run, when nobody competes
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [end for end in ended if isinstance(end, GatehouseError)]
    if refused:
        raise refused[0]
    found: Counter[str] = Counter()
    for event in rig.events():
        found[event["u"]] += event["c"]
    await rig.runtime.finish()
    return found


def main() -> None:
    engine, url = stub_engine(LOAD)
    try:
        for by_user in (True, False):
            with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as folder:
                found = asyncio.run(shares(Path(folder), url, by_user=by_user, seconds=3))
            order = "user" if by_user else "arrival"
            listed = ", ".join(f"{user} {found[user]:,}" for user in APPETITES)
            index = jain([found[user] for user in APPETITES])
            print(f"LOCALAI_FAIRNESS={order}: tokens {listed}; Jain's index {index:.4f}")
    finally:
        engine.stop()


if __name__ == "__main__":
    main()
