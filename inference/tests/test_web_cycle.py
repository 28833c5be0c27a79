"""Our own making of uvicorn's cycle, of one request and its answer."""

import asyncio
import logging
from types import SimpleNamespace

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from inference.web_worker import Cycle, Exchange


def protocol_of(**more):
    return SimpleNamespace(
        transport=1,
        flow=2,
        logger=3,
        server_state=SimpleNamespace(default_headers=4),
        on_response_complete=5,
        expect_100_continue=False,
        tasks=set(),
        **more,
    )


def test_our_cycle_has_all_that_uvicorns_has():
    """uvicorn's own methods work on it; a new version may want more."""
    protocol = protocol_of()
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


def begun(*pieces, whole):
    cycle = Cycle(protocol_of(), {"type": "http"}, keep_alive=True)
    cycle.flow = SimpleNamespace(resume_reading=lambda: None, read_paused=False)
    cycle.arrives = lambda piece, whole: (
        cycle.body.extend(piece),
        setattr(cycle, "more_body", not whole),
        cycle.message_event.set(),
    )
    if pieces:
        cycle.arrives(b"".join(pieces), whole)
    return cycle


async def test_a_body_that_is_there_is_handed_over_once():
    cycle = begun(b"{", b"}", whole=True)
    cycle.waiting_for_100_continue = True  # no more: it sent the body all the same
    exchange = Exchange(SimpleNamespace(loop=None), cycle)

    assert exchange.body() == b"{}"
    assert not cycle.waiting_for_100_continue
    after = asyncio.create_task(cycle.receive())  # as somebody waits for a hang-up
    await asyncio.sleep(0.01)
    assert not after.done()
    cycle.disconnected = True
    cycle.message_event.set()
    assert await after == {"type": "http.disconnect"}


async def test_a_body_that_still_comes_is_left_to_receive():
    cycle = begun(b"a", whole=False)
    exchange = Exchange(SimpleNamespace(loop=None), cycle)
    assert exchange.body() is None
    assert await cycle.receive() == {"type": "http.request", "body": b"a", "more_body": True}
    rest = asyncio.create_task(cycle.receive())
    await asyncio.sleep(0.01)
    assert not rest.done()
    cycle.arrives(b"b", whole=True)
    assert await rest == {"type": "http.request", "body": b"b", "more_body": False}


async def test_of_a_caller_who_is_gone_no_body_is_handed_over():
    cycle = begun(b"a", whole=True)
    cycle.disconnected = True
    assert Exchange(SimpleNamespace(loop=None), cycle).body() is None
    assert await cycle.receive() == {"type": "http.disconnect"}


@pytest.mark.parametrize("how", ["raises", "comes back"])
async def test_an_application_that_gives_up_is_told_of_as_uvicorn_does(how, caplog):
    cycle, sent = begun(b"a", whole=True), []
    cycle.on_response, cycle.logger = (lambda: None), logging.getLogger("uvicorn.error")
    cycle.transport = SimpleNamespace(write=sent.append, close=lambda: None)
    cycle.flow.write_paused, cycle.default_headers = False, []
    cycle.scope = {"type": "http", "method": "GET"}
    fault = ValueError("of the application")

    async def app(_scope, _receive, _send):
        if how == "raises":
            raise fault

    await cycle.run_asgi(app)
    assert b"".join(sent).startswith(b"HTTP/1.1 500 ")
    [said] = caplog.records
    assert (said.exc_info[1] if how == "raises" else said.exc_info) is (
        fault if how == "raises" else None
    )
    assert cycle.on_response() is None


async def test_a_request_is_in_the_servers_list_while_it_is_worked_on():
    """By that list the server knows at its end whom to wait for, and how many there are."""
    cycle, seen = begun(b"a", whole=True), []
    cycle.on_response, cycle.transport = (lambda: None), SimpleNamespace(close=lambda: None)
    tasks = cycle._tasks

    async def app(_scope, _receive, _send):
        seen.append(set(tasks))
        cycle.response_started = cycle.response_complete = True

    cycle.task = asyncio.create_task(cycle.run_asgi(app))
    tasks.add(cycle.task)
    task = cycle.task
    await task
    assert seen == [{task}]
    assert tasks == set()
