"""Install Models and Backends in the browser: an admin installs, cancels, sees why one fails, loads, deletes."""

import hashlib
import json
import time

import pytest
from playwright.sync_api import expect

from core.tests.hostile_server import BODY, answer
from tests.browser.conftest import ADMIN, add_people
from tests.browser.pages import assert_accessible, shoot, weight
from tests.servers import Server
from tests.stub_backend import Index, recipe

pytestmark = pytest.mark.timeout(300)
expect.set_options(timeout=60_000)  # an engine process beside other work takes its time
DIGEST = hashlib.sha256(BODY).hexdigest()
PAGES = [
    "/app/models",
    "/app/models?show=installed",
    "/app/models/import",
    "/app/models/import?way=pypi",
    "/app/models/install?id=own%40slow",
    "/app/backends",
    "/app/backends/external",
]


def slowly(connection, _head):
    """A quarter of a megabyte in about six seconds."""
    whole = answer(200, BODY)
    connection.sendall(whole[: len(whole) - len(BODY)])
    for at in range(0, len(BODY), 8192):
        connection.sendall(BODY[at : at + 8192])
        time.sleep(0.2)


def entry(name, url, digest=DIGEST):
    return (
        f"- {{name: {name}, description: 'The {name} one.', license: MIT, tags: [small],"
        f" backend: stub, overrides: {{capabilities: [chat]}},"
        f" checked: {{date: 2026-11-20, size: {len(BODY)}, context: 4096, license: MIT}},"
        f' files: [{{filename: model.bin, uri: "{url}", sha256: "{digest}"}}]}}\n'
    )


@pytest.fixture(scope="module")
def index():
    """Files of models and wheels of backends, on loopback."""
    one = Index("1.0", "2.0")
    one.serve["/model.bin"] = lambda connection, _head: connection.sendall(answer(200, BODY))
    one.serve["/slow.bin"] = slowly
    one.texts = {each: recipe(each) for each in ("1.0", "2.0")}
    one.offer("/recipes.yaml", one.texts["1.0"])
    yield one
    one.close()


@pytest.fixture(scope="module")
def machine(tmp_path_factory, index):
    """A real server with its engine process, a gallery of ours and a backend that is the stub."""
    folder = tmp_path_factory.mktemp("galleries")
    names = ("quick", "slow", "owner/deep", "broken", "late")
    text = "".join(
        entry(
            name,
            f"{index.url}/{'slow' if name in {'slow', 'late'} else 'model'}.bin",
            "0" * 64 if name == "broken" else DIGEST,
        )
        for name in names
    )
    (folder / "own.yaml").write_text(text)
    uri = f"{index.url}/recipes.yaml"
    digests = [hashlib.sha256(each.encode()).hexdigest() for each in index.texts.values()]
    one = Server(
        folder,
        LOCALAI_MODELS_PATH=str(folder / "models"),
        LOCALAI_BACKENDS_PATH=str(folder / "backends"),
        LOCALAI_FETCH_ALLOW="127.0.0.1/32",
        LOCALAI_WEB_WORKERS="1",
        LOCALAI_GALLERIES=json.dumps([{"name": "own", "url": f"file://{folder}/own.yaml"}]),
        LOCALAI_BACKEND_GALLERIES=json.dumps([{"name": "own", "url": uri}]),
        LOCALAI_EXTERNAL_BACKENDS=",".join(f"{uri}#{digest}" for digest in digests),
        **index.for_pip,
    )
    add_people(one)
    one.until(lambda: one.processes("runengine"), 30)
    yield one
    one.stop()


@pytest.fixture
def page(machine, open_page):
    return open_page(machine, email=ADMIN)


def card(page, name):
    return page.get_by_role("listitem").filter(
        has=page.get_by_role("heading", name=name, exact=True)
    )


def test_an_admin_installs_a_model_and_sees_it_to_the_end(page):
    page.goto("/app")
    nav = page.get_by_role("navigation", name="Main")
    nav.get_by_role("link", name="Install Models").click()
    slow = card(page, "slow")
    slow.get_by_role("button", name="Install slow").click()
    expect(slow.get_by_role("progressbar")).to_be_visible()
    running = page.get_by_role("region", name="Running operations")
    expect(running.get_by_text("Installing slow")).to_be_visible()
    expect(page.locator("#ops").get_by_text("slow").first).to_be_visible()
    shoot(page, "models-installing")
    expect(slow.get_by_text("Installed")).to_be_visible()
    expect(slow.get_by_role("button", name="Actions for slow")).to_be_visible()


def test_an_admin_cancels_one(page):
    page.goto("/app/models")
    late = card(page, "late")
    late.get_by_role("button", name="Install late").click()
    expect(late.get_by_role("progressbar")).to_be_visible()
    late.get_by_role("button", name="Cancel late").click()
    expect(late.get_by_role("button", name="Install late")).to_be_visible()
    expect(page.get_by_role("region", name="Running operations")).to_be_hidden()


def test_a_failure_says_why_and_is_tried_again_or_dismissed(page):
    page.goto("/app/models")
    broken = card(page, "broken")
    broken.get_by_role("button", name="Install broken").click()
    expect(broken.get_by_text("Installation failed.")).to_be_visible()
    shoot(page, "models-failed")
    broken.get_by_role("button", name="Try again").click()
    expect(broken.get_by_text("Installation failed.")).to_be_hidden()
    expect(broken.get_by_text("Installation failed.")).to_be_visible()
    broken.get_by_role("button", name="Dismiss").click()
    expect(broken.get_by_role("button", name="Install broken")).to_be_visible()


def test_focus_stays_near_what_was_pressed(page):
    page.goto("/app/models")
    broken = card(page, "broken")
    button = broken.get_by_role("button", name="Install broken")
    button.focus()
    page.keyboard.press("Enter")
    expect(broken.get_by_role("heading")).to_be_focused()
    expect(broken.get_by_text("Installation failed.")).to_be_visible()
    broken.get_by_role("button", name="Dismiss").click()
    expect(broken.get_by_role("button", name="Install broken")).to_be_visible()


def test_filters_work_as_one_types_and_stand_in_the_address(page):
    page.goto("/app/models")
    page.get_by_role("searchbox", name="Search models").fill("deep")
    expect(page.get_by_role("heading", name="quick", exact=True)).to_be_hidden()
    expect(card(page, "owner/deep")).to_be_visible()
    page.wait_for_url("**/app/models?term=deep")
    page.get_by_role("link", name="Chat", exact=True).last.click()
    expect(page.locator("a.chip[aria-current]")).to_have_text("Chat")
    page.wait_for_url(lambda url: "tag=chat" in url and "term=deep" in url)
    page.reload()
    expect(page.get_by_role("searchbox", name="Search models")).to_have_value("deep")
    expect(page.get_by_role("heading", name="quick", exact=True)).to_have_count(0)


def save_over_another_admin(page):
    """What was typed, and outlived the page, is not saved over what came after it was begun."""
    editor = page.get_by_label("Configuration", exact=True)
    text = editor.input_value()
    editor.fill(text.replace("Deep indeed.", "Typed here."))
    other = page.context.new_page()
    other.goto(page.url)
    theirs = text.replace("Deep indeed.", "Another admin's.")
    other.get_by_label("Configuration", exact=True).fill(theirs)
    other.get_by_role("button", name="Save changes").click()
    expect(other.get_by_text("owner/deep is saved.")).to_be_visible()
    other.close()
    page.goto("/app/models")
    page.goto("/app/models/owner/deep/edit")
    expect(editor).to_have_value(text.replace("Deep indeed.", "Typed here."))
    page.get_by_role("button", name="Save changes").click()
    expect(page.locator("#text-d")).to_contain_text("Somebody else changed this meanwhile")
    expect(editor).to_have_value(text.replace("Deep indeed.", "Typed here."))
    expect(page.locator("#text-now")).to_contain_text("Another admin's.")
    assert_accessible(page)
    shoot(page, "model-edit-behind")
    editor.fill(text)
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_text("owner/deep is saved.")).to_be_visible()


def test_a_name_with_a_slash_is_installed_configured_loaded_and_deleted(page):
    page.goto("/app/models?term=deep")
    deep = card(page, "owner/deep")
    deep.get_by_role("button", name="Install owner/deep").click()
    expect(deep.get_by_text("Installed")).to_be_visible()
    page.goto("/app/models?show=installed")
    row = page.get_by_role("row").filter(has_text="owner/deep")
    row.get_by_role("button", name="Actions for owner/deep").click()
    page.get_by_role("link", name="Edit configuration").click()
    editor = page.get_by_label("Configuration", exact=True)
    text = editor.input_value()
    editor.fill(text + "surprise: 1\n")
    page.get_by_role("button", name="Save changes").click()
    expect(editor).to_be_focused()
    expect(page.locator("#text-d")).to_contain_text("is not a key of a configuration")
    expect(editor).to_have_value(text + "surprise: 1\n")
    editor.fill(text.replace("The owner/deep one.", "Deep indeed."))
    shoot(page, "model-edit")
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_text("owner/deep is saved.")).to_be_visible()
    save_over_another_admin(page)
    page.get_by_label("Other names, one a line").fill("deep\nway-down")
    page.get_by_role("button", name="Save aliases").click()
    expect(page.get_by_label("Configuration", exact=True)).to_have_value(
        text.replace("The owner/deep one.", "Deep indeed.").replace(
            "aliases: []", "aliases:\n- deep\n- way-down"
        )
    )
    page.get_by_role("link", name="Installed models").click()
    expect(row).to_contain_text("also deep, way-down")
    if not row.get_by_text("Ready").is_visible():
        row.get_by_role("button", name="Load now").click()
    expect(row.get_by_text("Ready")).to_be_visible()
    row.get_by_role("button", name="Unload owner/deep").click()
    expect(row.get_by_text("Stopped")).to_be_visible()
    shoot(page, "models-installed")
    row.get_by_role("button", name="Actions for owner/deep").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog", name="Delete owner/deep?").get_by_role(
        "button", name="Delete"
    ).click()
    expect(page.get_by_text("owner/deep is being deleted.")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="owner/deep")).to_have_count(0)


def test_a_backend_is_installed_upgraded_and_removed(page, index):
    page.goto("/app/backends")
    row = page.get_by_role("row").filter(has_text="stub")
    install = row.get_by_role("button", name="Install stub")
    expect(row).to_contain_text("Serves chat, completions")
    if install.is_visible():
        install.click()
    expect(row.get_by_text("Installed")).to_be_visible()
    index.offer("/recipes.yaml", index.texts["2.0"])
    page.get_by_role("button", name="Check for upgrades").click()
    expect(page.get_by_text("1 upgrade is available.")).to_be_visible()
    expect(row).to_contain_text("2.0 available")
    row.get_by_role("button", name="Upgrade stub").click()
    expect(row.get_by_text("Upgrading")).to_be_visible()
    shoot(page, "backends-upgrading")
    expect(row.get_by_text("Installed")).to_be_visible()
    expect(row.locator("td").nth(1)).to_have_text("2.0")
    row.get_by_role("button", name="Actions for stub").click()
    page.get_by_role("link", name="Show log").click()
    expect(page.get_by_role("log")).to_be_visible()
    shoot(page, "operation-log")
    page.get_by_role("link", name="Back", exact=True).click()
    page.get_by_role("button", name="Actions for stub").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("dialog", name="Remove stub?").get_by_role("button", name="Remove").click()
    expect(
        page.get_by_text("The backend is being removed.").or_(page.get_by_text("in use"))
    ).to_be_visible()


def test_everything_works_without_script(machine, open_page):
    page = open_page(machine, email=ADMIN, java_script_enabled=False)
    page.goto("/app/models")
    card(page, "quick").get_by_role("button", name="Install quick").click()
    assert page.get_by_text("quick is being installed.").is_visible()
    deadline = time.monotonic() + 90
    while not card(page, "quick").get_by_text("Installed").is_visible():
        assert time.monotonic() < deadline
        time.sleep(0.5)
        page.reload()
    card(page, "quick").get_by_role("button", name="Actions for quick").click()
    page.get_by_role("button", name="Pin in memory").click()
    assert page.get_by_text("quick stays in memory.").is_visible()
    card(page, "quick").get_by_role("button", name="Actions for quick").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("heading", name="Delete quick?").wait_for()
    page.get_by_role("button", name="Delete").click()
    assert page.get_by_text("quick is being deleted.").is_visible()


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_accessible_light_and_small(page, path):
    page.goto(path)
    assert_accessible(page)
    shoot(page, path.replace("/", "-").replace("?", "-"))
    found = weight(page, path)
    assert 0 < found["script"] <= 60 * 1024
    assert 0 < found["stylesheet"] <= 30 * 1024
    page.set_viewport_size({"width": 320, "height": 800})
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0


def test_importing_says_what_is_wrong_beside_the_field(page):
    page.goto("/app/models/import?way=web")
    page.get_by_label("Address", exact=True).fill("http://169.254.169.254/model.bin")
    page.get_by_label("Name here").fill("mine")
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_label("Address", exact=True)).to_have_value(
        "http://169.254.169.254/model.bin"
    )
    expect(page.locator(".err")).to_contain_text("sha256")
    shoot(page, "model-import-wrong")
