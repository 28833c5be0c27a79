"""An engine of our own on a real server: loaded and unloaded on the System page, its first words live in its log."""

import hashlib
import json
from collections.abc import Iterator

import pytest

from tests.browser.pages import assert_accessible, shoot
from tests.servers import Server
from tests.stub_backend import Index, recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
BODY = b"weights"
FILE = {"filename": "model.bin", "sha256": hashlib.sha256(BODY).hexdigest()}


@pytest.fixture(scope="module")
def engine_server(tmp_path_factory) -> Iterator[Server]:
    """A server with one backend, whose engine is the stub, and one model of it, `org/small`."""
    folder, index = tmp_path_factory.mktemp("engine"), Index("1.0")
    index.serve["/model.bin"] = lambda connection, _head: connection.sendall(
        b"HTTP/1.1 200 x\r\ncontent-length: 7\r\n\r\n" + BODY
    )
    uri, digest = index.offer("/recipes.yaml", recipe("1.0"))
    server = Server(
        folder,
        LOCALAI_MODELS_PATH=str(folder / "models"),
        LOCALAI_BACKENDS_PATH=str(folder / "backends"),
        LOCALAI_FETCH_ALLOW="127.0.0.1/32",
        LOCALAI_RAM_BUDGET="50%",
        LOCALAI_BACKEND_GALLERIES=json.dumps([{"name": "own", "url": uri}]),
        LOCALAI_EXTERNAL_BACKENDS=f"{uri}#{digest}",
        **index.for_pip,
    )
    try:
        server.until(lambda: server.processes("runengine"), 30)
        with server.client() as admin:
            job = admin.post("/backends/apply", json={"id": "own@stub"}).json()["id"]
            server.until(lambda: admin.get(f"/backends/jobs/{job}").json()["processed"], 120)
            body = {"name": "org/small", "files": [{**FILE, "uri": f"{index.url}/model.bin"}]}
            body |= {"backend": "stub", "overrides": {"capabilities": ["chat"]}}
            made = admin.post("/models/apply", json=body)
            assert made.status_code == 200, made.text
            job = made.json()["uuid"]
            server.until(lambda: admin.get(f"/models/jobs/{job}").json()["processed"], 120)
            server.until(lambda: state(server) == "ready", 60)
        yield server
    finally:
        server.stop()
        index.close()


def state(server):
    with server.client() as admin:
        engines = admin.get("/api/engines").json()["engines"]
    return engines[0]["state"] if engines else ""


def test_r29_a_menu_stays_open_when_the_page_is_told_something_meanwhile(engine_server, open_page):
    page = open_page(engine_server, email="admin@example.org")
    held = []
    page.goto("/app/system")
    row = page.get_by_role("row", name="org/small")
    row.get_by_text("Ready").wait_for()
    page.route("**/app/system/live*", lambda route: held.append(route))  # noqa: PLW0108  # it sets a mark on what it calls
    with page.expect_request("**/app/system/live*"):
        pass  # it is on its way
    row.get_by_role("button", name="Actions for org/small").click()
    with page.expect_response("**/app/system/live*"):
        held.pop().continue_()
    page.wait_for_timeout(200)

    assert page.get_by_role("button", name="Unload").is_visible()
    page.unroute_all(behavior="ignoreErrors")


def test_r13_r29_an_engine_is_unloaded_and_loaded_and_its_words_come_live(engine_server, open_page):
    page = open_page(engine_server, email="admin@example.org")
    page.goto("/app/system")
    row = page.get_by_role("row", name="org/small")
    row.get_by_text("Ready").wait_for()
    assert_accessible(page)
    shoot(page, "machine-system-engine")
    row.get_by_role("button", name="Actions for org/small").click()
    page.get_by_role("button", name="Unload").click()
    page.get_by_text("org/small stops as soon as its callers are served.").wait_for()
    row.get_by_text("Stopped").wait_for(timeout=30_000)
    shoot(page, "machine-system-stopped")

    log = open_page(engine_server, email="admin@example.org")
    log.goto("/app/logs/org/small")
    log.locator("#log-state").get_by_text("Live", exact=True).wait_for()
    before = log.get_by_text("this is version 1.0", exact=True).count()
    assert before == 1

    page.get_by_role("combobox", name="Model").select_option("org/small")
    page.get_by_role("main").get_by_role("button", name="Load now").first.click()
    page.get_by_text("org/small is loading.").wait_for()
    row.get_by_text("Ready").wait_for(timeout=60_000)
    log.get_by_text("this is version 1.0", exact=True).nth(before).wait_for()
    shoot(log, "machine-log-engine")


def test_the_menu_of_a_row_is_not_closed_by_the_poll(engine_server, open_page):
    page = open_page(engine_server, email="admin@example.org")
    page.goto("/app/system")
    page.get_by_role("button", name="Actions for org/small").click()
    page.wait_for_timeout(3000)
    page.get_by_role("link", name="Show log").click()
    page.wait_for_url("**/app/logs/org/small")
