"""Accounts, users, invites and the audit trail in a browser: by labels and roles alone."""

import httpx
import pytest

from tests.browser.conftest import ADMIN, USER, add_people
from tests.browser.pages import assert_accessible, shoot, weight
from tests.servers import PASSWORD, Server
from tests.stub import StubEngine

ACCOUNT = ["/app/account", "/app/account/security", "/app/account/keys"]
PEOPLE = ["/app/users", "/app/users/invites", "/app/users/audit"]
WAITING = ["Noor Haddad", "Ben Okafor", "Maximiliane-Alexandra von Hohenfels-Wittgenstein"]
EVERYBODY = ["Aiko Tanaka", "Tomás Herrera", "Jonas Weber", "<img src=x onerror=alert(1)>\u202e"]
GOOD = "a wholly different phrase"


def register(server, name):
    first = name.split()[0].lower().encode("ascii", "ignore").decode().strip("<")
    email = f"{first}@northlight.example"
    body = {"email": email, "password": PASSWORD, "name": name}
    assert httpx.post(f"{server.url}/api/auth/register", json=body).status_code < 300
    return email


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with an admin, bob, four more people and three who wait."""
    engine = StubEngine()
    made = Server(
        tmp_path_factory.mktemp("people"), web_only=True, LOCALAI_ENGINES=f"m={engine.url}"
    )
    try:
        add_people(made)
        with made.client() as admin:
            emails = [register(made, name) for name in [*EVERYBODY, *WAITING]]
            listed = admin.get("/api/auth/admin/users").json()["users"]
            ids = {each["email"]: each["id"] for each in listed}
            for i, email in enumerate(emails[: len(EVERYBODY)]):
                path = f"/api/auth/admin/users/{ids[email]}"
                admin.put(f"{path}/status", json={"status": "active"})
                quota = {"window": "7d", "max_total_tokens": 10**6 * i}
                assert admin.put(f"{path}/quotas", json=quota).status_code == 200
            admin.put(f"{path}/status", json={"status": "disabled"})
            for hours in (24, 168):
                admin.post("/api/auth/admin/invites", json={"expiresInHours": hours})
        yield made
    finally:
        made.stop()
        engine.stop()


@pytest.fixture
def admin(server, open_page):
    return open_page(server, email=ADMIN)


@pytest.fixture
def bob(server, open_page):
    return open_page(server, email=USER)


@pytest.mark.parametrize("path", [*ACCOUNT, *PEOPLE])
def test_pages_are_accessible_light_and_within_budget(admin, path):
    found = weight(admin, path)
    assert_accessible(admin)
    shoot(admin, path.strip("/").replace("/", "-"))
    assert 0 < found["script"] <= 60 * 1024
    assert 0 < found["stylesheet"] <= 30 * 1024


@pytest.mark.parametrize("path", [*ACCOUNT, *PEOPLE])
def test_no_page_scrolls_sideways_at_320_px(server, open_page, path):
    page = open_page(server, email=ADMIN, viewport={"width": 320, "height": 800})
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_search_finds_people_while_one_types(admin):
    admin.goto("/app/users")
    admin.keyboard.press("/")
    admin.keyboard.type("aiko")
    admin.locator("#people").get_by_text("1 of 6").wait_for()
    assert admin.get_by_role("searchbox", name="Search people").input_value() == "aiko"
    assert "q=aiko" in admin.url
    admin.reload()
    assert admin.get_by_role("link", name="Aiko Tanaka").is_visible()
    admin.get_by_role("searchbox", name="Search people").fill("")
    admin.get_by_role("combobox", name="State").select_option("Disabled")
    admin.locator("#people").get_by_text("1 of 6").wait_for()
    admin.get_by_role("combobox", name="State").select_option("All states")
    admin.locator("#people").get_by_text("6 of 6").wait_for()
    admin.get_by_role("link", name="Person").click()
    admin.locator("th[aria-sort=descending]").wait_for()
    assert "sort=-name" in admin.url


def test_approve_one_and_decline_several(admin):
    admin.goto("/app/users")
    admin.get_by_role("button", name="Approve Noor Haddad").click()
    admin.get_by_text("1 person approved.").wait_for()
    admin.get_by_role("checkbox", name="Select all waiting").check()
    admin.get_by_text("2 selected").wait_for()
    admin.get_by_role("button", name="Decline selected").click()
    asked = admin.get_by_role("dialog", name="Decline the selected people?")
    asked.get_by_role("button", name="Decline selected").click()
    admin.get_by_text("2 people declined.").wait_for()
    assert admin.get_by_role("heading", name="Waiting for approval").count() == 0


def test_the_drawer_counts_changes_and_saves_them(admin):
    admin.goto("/app/users?q=tom")
    admin.get_by_role("button", name="Actions for Tomás Herrera").click()
    admin.get_by_role("link", name="Permissions and quotas").click()
    drawer = admin.get_by_role("dialog", name="Tomás Herrera")
    drawer.get_by_text("0 of 1,000,000 tokens").wait_for()
    assert_accessible(admin)
    shoot(admin, "users-drawer", full=False)
    drawer.get_by_label("Speech").uncheck()
    drawer.get_by_label("Agents", exact=True).check()
    drawer.get_by_text("2 changes, not saved").wait_for()
    admin.keyboard.press("Escape")
    lose = admin.get_by_role("dialog", name="Discard what you typed?")
    lose.get_by_role("button", name="Cancel").click()
    drawer.get_by_text("Add quota").click()
    drawer.get_by_label("Requests at most").last.fill("many")
    drawer.get_by_role("button", name="Save changes").click()
    drawer.get_by_text("Quotas are whole numbers from 0 on.").wait_for()
    assert not drawer.get_by_label("Speech").is_checked()
    drawer.get_by_text("Add quota").click()
    drawer.get_by_label("Requests at most").last.fill("200")
    drawer.get_by_role("button", name="Save changes").click()
    admin.get_by_text("Saved.").wait_for()
    assert admin.url.endswith("?q=tom")
    assert admin.get_by_text("All models, agents").is_visible()
    assert admin.locator(":focus").get_attribute("aria-label") == "Actions for Tomás Herrera"


def test_the_drawer_says_what_another_admin_changed_and_keeps_what_was_typed(admin, server):
    admin.goto("/app/users?q=aiko")
    admin.get_by_role("button", name="Actions for Aiko Tanaka").click()
    admin.get_by_role("link", name="Permissions and quotas").click()
    drawer = admin.get_by_role("dialog", name="Aiko Tanaka")
    drawer.get_by_label("Speech").uncheck()
    with server.client() as other:
        listed = other.get("/api/auth/admin/users").json()["users"]
        (aiko,) = [each["id"] for each in listed if each["name"] == "Aiko Tanaka"]
        quota = {"window": "1d", "max_requests": 40}
        path = f"/api/auth/admin/users/{aiko}/quotas"
        assert other.put(path, json=quota).status_code == 200
    drawer.get_by_role("button", name="Save changes").click()
    told = drawer.get_by_role("alert")
    told.get_by_text("Somebody else changed this meanwhile, so nothing was saved.").wait_for()
    assert "Quotas added: 40 requests in 1 day" in told.inner_text()
    assert not drawer.get_by_label("Speech").is_checked()
    assert_accessible(admin)
    shoot(admin, "users-drawer-behind", full=False)
    drawer.get_by_role("button", name="Save changes").click()
    admin.get_by_text("Saved.").wait_for()


def test_a_person_is_deleted_after_a_question(admin):
    admin.goto("/app/users?q=jonas")
    admin.get_by_role("button", name="Actions for Jonas Weber").click()
    admin.get_by_role("link", name="Delete").click()
    asked = admin.get_by_role("dialog", name="Delete Jonas Weber?")
    assert_accessible(admin)
    shoot(admin, "users-delete", full=False)
    asked.get_by_role("link", name="Cancel").click()
    asked.wait_for(state="hidden")
    assert admin.locator(":focus").get_attribute("aria-label") == "Actions for Jonas Weber"
    admin.keyboard.press("Enter")
    admin.get_by_role("link", name="Delete").click()
    asked.get_by_role("button", name="Delete").click()
    admin.get_by_text("The account is deleted.").wait_for()
    admin.get_by_text("Nobody found").wait_for()


def test_everything_works_without_script(server, open_page):
    page = open_page(server, email=ADMIN, java_script_enabled=False)
    page.goto("/app/users")
    page.get_by_role("searchbox", name="Search people").fill("aiko")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Aiko Tanaka").click()
    page.get_by_role("heading", name="Aiko Tanaka", level=1).wait_for()
    page.get_by_label("Images", exact=True).uncheck()
    page.get_by_role("button", name="Save changes").click()
    page.get_by_text("Saved.").wait_for()
    page.goto("/app/users?q=aiko")
    page.get_by_role("button", name="Actions for Aiko Tanaka").click()
    page.get_by_role("link", name="Reset password").click()
    page.get_by_label("New password").fill(GOOD)
    page.get_by_role("button", name="Reset password").click()
    page.get_by_text("The password is reset.").wait_for()
    page.goto("/app/users/invites")
    page.get_by_role("button", name="Create invite link").click()
    assert "/invite/" in page.get_by_label("Invite link").input_value()


def test_an_invite_link_is_copied_and_revoked(admin):
    admin.goto("/app/users/invites")
    admin.get_by_label("Valid for").select_option("1 day")
    admin.get_by_role("button", name="Create invite link").click()
    admin.get_by_role("button", name="Copy link").click()
    admin.get_by_text("Copied").wait_for()
    link = admin.evaluate("navigator.clipboard.readText()")
    assert admin.get_by_label("Invite link").input_value() == link
    shoot(admin, "invites-made")
    code = link.rpartition("/")[2][:8]
    admin.get_by_role("button", name=f"Revoke {code}").click()
    asked = admin.get_by_role("dialog", name="Revoke this invite?")
    asked.get_by_role("button", name="Revoke").click()
    admin.get_by_text("The invite is revoked.").wait_for()


def test_a_key_is_made_copied_and_revoked(server, bob):
    bob.goto("/app/account/keys")
    bob.get_by_label("Name").fill("notebook")
    bob.get_by_role("button", name="Create key").click()
    bob.get_by_text("Key “notebook” created.").wait_for()
    bob.get_by_label("Name").fill("backup job")
    bob.get_by_role("button", name="Create key").click()
    bob.get_by_role("button", name="Copy key").click()
    bob.get_by_text("Copied").wait_for()
    key = bob.evaluate("navigator.clipboard.readText()")
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 200
    shoot(bob, "keys-made")
    bob.get_by_role("link", name="Revoke backup job").click()
    asked = bob.get_by_role("dialog", name="Revoke “backup job”?")
    asked.get_by_role("button", name="Revoke").click()
    bob.get_by_text("The key is revoked.").wait_for()
    assert bob.locator(":focus").get_attribute("aria-label") == "Revoke notebook"
    assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 401


def test_the_profile_keeps_what_was_typed_and_says_what_is_wrong(bob):
    bob.goto("/app/account")
    bob.get_by_label("Display name").fill("Bobby")
    bob.get_by_label("Picture address").fill("https://localhost:1/nothing.png")
    bob.get_by_role("button", name="Save profile").click()
    bob.get_by_text("Your profile is saved.").wait_for()
    assert bob.get_by_role("navigation", name="Main").get_by_text("Bobby").is_visible()
    bob.get_by_role("combobox", name="Theme").select_option("Dark")
    bob.get_by_role("button", name="Save changes").click()
    bob.locator("html[data-theme=dark]").wait_for()
    assert bob.url.endswith("/app/account")


def test_a_passkey_is_added_and_removed(server, open_page):
    page = open_page(server, email=ADMIN)
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    page.goto("/app/account/security")
    page.get_by_label("Name of the passkey").fill("laptop")
    page.get_by_role("button", name="Add passkey").click()
    codes = page.get_by_role("dialog", name="Your recovery codes")
    codes.locator("li").nth(7).wait_for()
    codes.get_by_role("button", name="I have kept them").click()
    page.get_by_role("button", name="Remove laptop").click()
    page.get_by_role("dialog", name="Remove this passkey?").get_by_role(
        "button", name="Remove"
    ).click()
    page.get_by_text("The passkey is removed.").wait_for()
