"""R-08, R-09, R-10, R-21, R-24: the Settings page: every setting, checks beside the field, keys, the trail."""

import re
from html import unescape

import pytest

from accounts.models import AuditRecord, ServerSetting
from accounts.runtime_settings.catalogue import KEYS, SECTIONS
from accounts.runtime_settings.registry import registered

pytestmark = pytest.mark.django_db
PAGE, API = "/app/settings", "/api/settings"
HOSTILE = '"><script>alert(1)</script>'


def text(answer, status=200):
    assert answer.status_code == status, answer.content
    return answer.content.decode()


def form_of(page):
    """What a browser would post of the page as it is: every field that is not disabled."""
    body = page[page.index('<form class="stack loose"') :]
    body = body[: body.index("</form>")]
    fields = {}
    for tag in re.findall(r"<input[^>]*>", body):
        found = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        is_box = found.get("type") == "checkbox"
        if " disabled" in tag or "name" not in found or (is_box and " checked" not in tag):
            continue
        given = "on" if is_box and "value" not in found else found.get("value", "")
        fields.setdefault(found["name"], []).append(unescape(given))
    for name, off, inner in re.findall(
        r'<select class="select" id="(\w+)" name="\w+"( disabled)?.*?>(.*?)</select>',
        body,
        re.DOTALL,
    ):
        if not off:
            chosen = re.findall(r'<option value="(\w+)" selected', inner)
            fields[name] = chosen
    for name, off, inner in re.findall(
        r'<textarea[^>]* id="(\w+)"[^>]*rows="2"( disabled)?[^>]*>([^<]*)</textarea>', body
    ):
        if not off:
            fields[name] = [unescape(inner)]
    fields.pop("csrfmiddlewaretoken", None)
    return fields


def post(api, **changes):
    """The page's form with some fields changed; None leaves one out, as an unchecked box."""
    fields = form_of(text(api.get(PAGE))) | changes
    return api.client.post(PAGE, {k: v for k, v in fields.items() if v is not None})


def in_force(api, *names):
    shown = api.get(API).json()
    return [shown[name] for name in names]


def trail():
    return AuditRecord.objects.filter(action="settings_changed")


def test_every_registered_setting_is_on_the_page(as_alice):
    page = text(as_alice.get(PAGE))

    for name, key in registered().items():
        if name != KEYS:
            assert f'name="{name}' in page, name
            assert (f'name="was.{name}"' in page) == (not key.fixed_by and not key.read_only), name


def test_every_registered_setting_has_a_label(as_alice):
    described = {entry.name for section in SECTIONS for entry in section.entries}

    assert set(registered()) - described == {KEYS}
    assert described <= set(registered())


def test_the_form_as_it_is_changes_nothing(as_alice):
    answer = post(as_alice)

    assert answer.headers["location"] == PAGE
    assert ServerSetting.objects.count() == 0
    assert not trail().exists()


def test_r21_a_change_is_in_force_and_in_the_trail(as_alice):
    answer = post(
        as_alice,
        watchdog_idle_enabled="on",
        watchdog_idle_timeout="1h30m",
        max_active_backends="3",
        memory_reclaimer_threshold="0.9",
        registration_mode="invite",
        enable_tracing=None,
        cors_allow_origins="https://a.example\r\nhttps://b.example",
        pii_default_detectors="one\r\ntwo",
    )

    assert answer.status_code == 302
    names = ("watchdog_idle_enabled", "watchdog_enabled", "watchdog_idle_timeout")
    assert in_force(as_alice, *names) == [True, True, "1h30m"]
    names = ("max_active_backends", "memory_reclaimer_threshold", "registration_mode")
    assert in_force(as_alice, *names) == [3, 0.9, "invite"]
    names = ("enable_tracing", "cors_allow_origins", "pii_default_detectors")
    assert in_force(as_alice, *names) == [
        False,
        "https://a.example,https://b.example",
        ["one", "two"],
    ]
    (record,) = trail()
    assert record.after["max_active_backends"] == 3
    assert "8 changes saved." in text(as_alice.get(PAGE))


def test_what_another_admin_saved_meanwhile_stays(as_alice):
    fields = form_of(text(as_alice.get(PAGE)))
    as_alice.post(API, {"threads": 7})

    as_alice.client.post(PAGE, {**fields, "context_size": "2048"})

    assert in_force(as_alice, "threads", "context_size") == [7, 2048]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("watchdog_idle_timeout", "15 minutes", "Write a duration such as “15m” or “1h30m”."),
        ("watchdog_interval", "1ms", "at least 100ms"),
        ("max_active_backends", "-1", "Write a whole number, 0 or more."),
        ("max_active_backends", "many", "Write a whole number, 0 or more."),
        ("max_active_backends", "9" * 30, "Write a whole number, 0 or more."),
        ("memory_reclaimer_threshold", "2", "Write a number above 0"),
        ("memory_reclaimer_threshold", "nan", "Write a number above 0"),
        ("vram_budget", "much", "Write a share such as 80%"),
        ("registration_mode", "closed", "Wants"),
        ("cors_allow_origins", "a.example/x", "Write * or origins"),
        ("instance_name", "a\x07b", "one line of text"),
    ],
)
def test_r10_what_does_not_fit_is_said_beside_the_field_and_nothing_is_saved(
    as_alice, name, value, words
):
    page = text(post(as_alice, threads="5", **{name: value}), 422)

    assert words in unescape(page)
    control = re.search(rf'<(?:input|select|textarea)[^>]* id="{name}"[^>]*>', page)[0]
    assert f'aria-invalid="true" aria-describedby="{name}-e"' in control
    assert page.count("aria-invalid") == 1
    assert 'id="threads" name="threads" value="5"' in page  # what was typed is still there
    assert in_force(as_alice, "threads") == [0]


def test_what_is_folded_away_opens_where_it_is_wrong(as_alice):
    assert "<details>" in text(as_alice.get(PAGE))
    assert "<details>" in text(post(as_alice, threads="x"), 422)
    assert "<details open>" in text(post(as_alice, agent_job_retention_days="x"), 422)


def test_all_that_is_wrong_is_said_at_once(as_alice):
    page = text(post(as_alice, threads="x", context_size="y", watchdog_busy_timeout="z"), 422)

    assert page.count("aria-invalid") == 3
    assert "3 settings need correction." in page


def test_r08_what_the_environment_fixes_is_locked_and_names_its_variable(as_alice, settings):
    fixed = settings.GATEHOUSE.model_copy(update={"vram_budget": "46GB"})
    settings.GATEHOUSE = fixed
    page = text(as_alice.get(PAGE))

    control = re.search(r'<input[^>]* id="vram_budget"[^>]*>', page)[0]
    assert " disabled" in control
    assert 'value="46GB"' in control
    assert "Set by LOCALAI_VRAM_BUDGET" in page
    forged = {**form_of(page), "vram_budget": "1GB", "was.vram_budget": ""}
    as_alice.client.post(PAGE, forged)
    assert in_force(as_alice, "vram_budget") == ["46GB"]
    assert not ServerSetting.objects.exists()


def test_settings_that_are_switched_off_are_only_shown(as_alice, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"disable_runtime_settings": True})
    page = text(as_alice.get(PAGE))

    assert "LOCALAI_DISABLE_RUNTIME_SETTINGS" in page
    assert "Save changes" not in page
    as_alice.client.post(PAGE, {"threads": "5", "was.threads": "0"})
    as_alice.client.post(f"{PAGE}/keys", {"key": "x" * 20})
    assert not ServerSetting.objects.exists()


def test_secrets_are_written_and_never_shown(as_alice):
    assert post(as_alice, p2p_token="a secret of mine, quite long").status_code == 302

    page = text(as_alice.get(PAGE))
    assert "a secret of mine" not in page
    (mask,) = in_force(as_alice, "p2p_token")
    assert mask in page
    post(as_alice, threads="2")
    assert in_force(as_alice, "p2p_token") == [mask]  # an empty field leaves it
    wrong = text(post(as_alice, p2p_token="another secret", threads="x"), 422)
    assert "another secret" not in wrong
    post(as_alice, p2p_token="-")
    assert in_force(as_alice, "p2p_token") == [""]


def test_galleries_are_added_changed_and_removed(as_alice):
    names, urls = "galleries.name", "galleries.url"
    added = {names: ["team"], urls: ["https://git.example/gallery.yaml"]}
    assert post(as_alice, **added).status_code == 302
    team = {"name": "team", "url": "https://git.example/gallery.yaml"}
    assert in_force(as_alice, "galleries") == [[team]]

    fields = form_of(text(as_alice.get(PAGE)))
    assert fields[names] == ["team", ""]
    page = text(post(as_alice, **{names: ["team", "b"], urls: [team["url"], "file:///etc"]}), 422)
    assert "file://" in page
    assert "aria-invalid" in page
    two = {names: ["team", "b"], urls: [team["url"], "https://b.example/g.yaml"]}
    post(as_alice, **two)
    post(as_alice, **{"galleries.remove": "0"})
    assert in_force(as_alice, "galleries") == [[{"name": "b", "url": "https://b.example/g.yaml"}]]


def test_legacy_keys_are_added_shown_as_masks_and_revoked(as_alice, anonymous, settings):
    key = "sk-prod-" + "k" * 24

    answer = as_alice.client.post(f"{PAGE}/keys", {"key": key})

    assert answer.status_code == 302
    page = text(as_alice.get(PAGE))
    assert key not in page
    [(*fixed, mask)] = in_force(as_alice, "api_keys")
    assert page.count(f'name="key" value="{mask}"') == 1
    assert len(fixed) == page.count("Set by LOCALAI_API_KEY or api_keys.json") == 2
    as_alice.client.post(f"{PAGE}/keys/remove", {"key": fixed[0]})  # not ours to take away
    assert in_force(as_alice, "api_keys") == [[*fixed, mask]]
    assert anonymous.get("/api/operations", authorization=f"Bearer {key}").status_code == 200
    as_alice.client.post(f"{PAGE}/keys/remove", {"key": mask})
    assert in_force(as_alice, "api_keys") == [fixed]
    assert anonymous.get("/api/operations", authorization=f"Bearer {key}").status_code == 401
    assert trail().count() == 2


@pytest.mark.parametrize("key", ["", "   ", "with space", "ü" * 20, "\u2022\u2022\u2022\u2022x"])
def test_a_key_that_is_none_is_refused(as_alice, key):
    before = in_force(as_alice, "api_keys")
    page = text(as_alice.client.post(f"{PAGE}/keys", {"key": key}), 422)

    assert 'id="key-e"' in page
    assert in_force(as_alice, "api_keys") == before


def test_hostile_values_are_only_text(as_alice):
    as_alice.post(API, {"instance_name": HOSTILE})

    assert HOSTILE not in text(as_alice.get(PAGE))
    assert HOSTILE not in text(post(as_alice, instance_tagline=HOSTILE, threads="x"), 422)


def test_r24_settings_are_the_admins_alone(anonymous, as_bob, alice):
    assert anonymous.get(PAGE).headers["location"].startswith("/login?next=")
    assert as_bob.get(PAGE).headers["location"] == "/app?notice=admins_only"
    for path in (PAGE, f"{PAGE}/keys", f"{PAGE}/keys/remove"):
        assert as_bob.client.post(path, {"key": "x" * 20, "threads": "5"}).status_code == 403
    assert not ServerSetting.objects.exists()


def test_the_page_costs_the_frames_queries_alone(as_alice, django_assert_num_queries):
    as_alice.post(API, {"instance_name": "x", "threads": 4})
    as_alice.get(PAGE)
    with django_assert_num_queries(4):
        as_alice.get(PAGE)


@pytest.mark.parametrize(
    "value", ["9" * 5000, "²", "nan", "inf", "-1", "1e999", "\x00", "١٢", "[]", HOSTILE]
)
def test_no_value_of_any_field_is_an_error_of_ours(as_alice, value):
    fields = form_of(text(as_alice.get(PAGE)))
    galleries = [name for name in registered() if name.endswith("galleries")]
    removals = {f"{name}.remove": value for name in galleries}
    for each in (name for name in fields if not name.startswith("was.")):
        assert post(as_alice, **{each: value}).status_code in {302, 422}, each
    shown = [*fields["shown"], *galleries]
    assert post(as_alice, shown=shown, **removals).status_code in {302, 422}
