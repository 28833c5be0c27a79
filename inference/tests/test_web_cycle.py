"""Our own making of uvicorn's cycle, of one request and its answer."""

import asyncio
from types import SimpleNamespace

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from inference.web_worker import Cycle


def test_our_cycle_has_all_that_uvicorns_has():
    """uvicorn's own methods work on it; a new version may want more."""
    protocol = SimpleNamespace(
        transport=1,
        flow=2,
        logger=3,
        server_state=SimpleNamespace(default_headers=4),
        on_response_complete=5,
        expect_100_continue=False,
    )
    event = asyncio.Event()
    theirs = RequestResponseCycle(
        *({}, 1, 2, 3, 6, False, 4, event),
        expect_100_continue=False,
        keep_alive=True,
        on_response=5,
    )
    ours = Cycle(protocol, {}, keep_alive=True)
    ours.message_event = event

    differing = {"access_logger"}  # which writes nothing where there is no access log
    wanted = {key: value for key, value in vars(theirs).items() if key not in differing}
    assert {key: getattr(ours, key) for key in wanted} == wanted
