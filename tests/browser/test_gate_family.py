"""The pages before sign-in, in the browser: first run, invite, waiting, passkey, keyboard; with pictures."""

import pytest

from tests.browser.pages import assert_accessible, shoot, weight
from tests.servers import PASSWORD, Server

GOOD = "a long enough pass phrase"


def new_invite(server):
    with server.client() as admin:
        return admin.post("/api/auth/admin/invites").json()["code"]


@pytest.fixture
def fresh_server(tmp_path):
    made = Server(tmp_path, web_only=True, make_admin=False, LOCALAI_ENGINES="http://127.0.0.1:9")
    yield made
    made.stop()


def test_the_first_visitor_makes_the_admin_account_with_the_keyboard_alone(fresh_server, open_page):
    page = open_page(fresh_server)
    page.goto("/")
    page.get_by_role("heading", name="Create the admin account").wait_for()
    assert_accessible(page)
    shoot(page, "first-run")
    page.get_by_label("Email").focus()
    for text in ("mara@example.org", "Mara Lindqvist", GOOD, GOOD):
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/app")


def test_sign_in_says_what_is_wrong_and_leads_back(anonymous_page):
    page = anonymous_page
    page.goto("/app/account")
    assert "next=%2Fapp%2Faccount" in page.url
    page.keyboard.type("bob@example.org")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("alert").get_by_text("Wrong email or password.").wait_for()
    assert page.get_by_label("Email").input_value() == "bob@example.org"
    assert_accessible(page)
    shoot(page, "sign-in")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/app/account")


def test_a_key_signs_in_too(ui_server, anonymous_page):
    page = anonymous_page
    page.goto("/login")
    page.get_by_role("link", name="Sign in with an API key").click()
    shoot(page, "sign-in-key")
    page.get_by_label("API key").fill(ui_server.key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/app")


def test_an_invite_link_then_a_weak_password_then_in(ui_server, anonymous_page):
    page = anonymous_page
    page.goto(f"/invite/{new_invite(ui_server)}")
    page.get_by_text("No approval needed.").wait_for()
    page.get_by_label("Email").fill("noor@example.org")
    page.get_by_label("Password", exact=True).fill("password1234")
    page.get_by_label("Confirm password").fill("password1234")
    page.get_by_role("button", name="Register").click()
    page.get_by_text("Easy to guess").wait_for()
    assert page.locator(":focus").get_attribute("name") == "password"
    assert_accessible(page)
    shoot(page, "register")
    page.get_by_label("Use this password anyway").check()
    page.get_by_label("Password", exact=True).fill("password1234")
    page.get_by_label("Confirm password").fill("password1234")
    page.get_by_role("button", name="Register").click()
    page.wait_for_url("**/app")


def test_waiting_then_approved_then_in(ui_server, anonymous_page):
    page = anonymous_page
    page.goto("/register")
    page.get_by_label("Email").fill("tom@example.org")
    page.get_by_label("Password", exact=True).fill(GOOD)
    page.get_by_label("Confirm password").fill(GOOD)
    page.get_by_role("button", name="Register").click()
    page.get_by_role("heading", name="You are waiting for approval").wait_for()
    assert_accessible(page)
    shoot(page, "waiting")
    with ui_server.client() as admin:
        listed = admin.get("/api/auth/admin/users").json()["users"]
        (tom,) = [each for each in listed if each["email"] == "tom@example.org"]
        admin.put(f"/api/auth/admin/users/{tom['id']}/status", json={"status": "active"})
    page.get_by_role("link", name="Check now").click()
    page.get_by_role("heading", name="Your account is approved").wait_for()
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("Email").fill("tom@example.org")
    page.get_by_label("Password").fill(GOOD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/app")


def test_a_forgotten_password_is_asked_for(anonymous_page):
    page = anonymous_page
    page.goto("/login")
    page.get_by_role("link", name="Forgot your password?").click()
    shoot(page, "forgot")
    page.get_by_label("Email").fill("bob@example.org")
    page.get_by_role("button", name="Send link").click()
    page.get_by_role("heading", name="Check your mail").wait_for()


def test_the_way_back_from_an_error_page(user_page):
    user_page.expected.append("status of 404")
    user_page.goto("/app/account")
    user_page.goto("/app/nowhere")
    shoot(user_page, "404")
    user_page.get_by_role("button", name="Back").click()
    user_page.get_by_role("heading", name="Account", level=1).wait_for()


def test_a_passkey_signs_in_from_the_page(ui_server, open_page):
    page = open_page(ui_server)
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True}
    options |= {"hasUserVerification": True, "isUserVerified": True}
    options |= {"automaticPresenceSimulation": True}
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    page.goto(f"/invite/{new_invite(ui_server)}")
    page.get_by_label("Email").fill("kim@example.org")
    page.get_by_label("Password", exact=True).fill(GOOD)
    page.get_by_label("Confirm password").fill(GOOD)
    page.get_by_role("button", name="Register").click()
    page.wait_for_url("**/app")
    made = page.evaluate(
        """async () => {
          const post = async (path, body) => (await fetch(path, { method: "POST", body: JSON.stringify(body),
            headers: { "content-type": "application/json" } })).json();
          const asked = await post("/api/auth/mfa/passkeys/start", { passwordless: true });
          const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(asked.publicKey ?? asked);
          const credential = await navigator.credentials.create({ publicKey });
          return post("/api/auth/mfa/passkeys", { name: "laptop", credential: credential.toJSON() });
        }"""
    )
    assert made["recovery_codes"], made
    for _ in range(2):
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/login")
        page.get_by_role("button", name="Use a passkey").click()
        page.wait_for_url("**/app")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Email").fill("kim@example.org")
    page.get_by_label("Password").fill(GOOD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="One more step").wait_for()
    assert_accessible(page)
    shoot(page, "code")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("**/app")


@pytest.mark.parametrize("path", ["/login", "/register", "/waiting"])
def test_these_pages_are_light(anonymous_page, path):
    found = weight(anonymous_page, path)
    assert found["script"] <= 10 * 1024
    assert found["stylesheet"] <= 30 * 1024


def test_without_script_the_family_still_works(ui_server, open_page):
    page = open_page(ui_server, java_script_enabled=False)
    page.goto("/login")
    page.get_by_label("Email").fill("bob@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/app")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
