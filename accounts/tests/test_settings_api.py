"""`GET` and `POST /api/settings` (surface, section 5; R-01, R-08 to R-11, R-21, R-22)."""

import hypothesis
import pytest
from hypothesis import strategies as st

from accounts import runtime
from accounts.models import AuditRecord, ServerSetting
from accounts.runtime_settings.registry import SettingKey, register, registered
from tests.people import Api

URL = "/api/settings"
DONE = {"success": True, "message": "Settings updated successfully"}
DEFAULTS = {
    "watchdog_enabled": False,
    "watchdog_idle_enabled": False,
    "watchdog_busy_enabled": False,
    "watchdog_idle_timeout": "15m",
    "watchdog_busy_timeout": "5m",
    "watchdog_interval": "2s",
    "max_active_backends": 0,
    "single_backend": False,
    "force_eviction_when_busy": False,
    "size_aware_eviction": False,
    "lru_eviction_max_retries": 30,
    "lru_eviction_retry_interval": "1s",
    "memory_reclaimer_enabled": False,
    "memory_reclaimer_threshold": 0.95,
    "vram_budget": "",
    "threads": 0,
    "context_size": 0,
    "f16": False,
    "debug": False,
    "auto_upgrade_backends": False,
    "prefer_development_backends": False,
    "artifact_download_concurrency": 1,
    "enable_tracing": True,
    "enable_backend_logging": True,
    "tracing_bodies": False,
    "tracing_redact_prompts": False,
    "tracing_max_items": 1024,
    "tracing_max_body_bytes": 65536,
    "cors": False,
    "cors_allow_origins": "",
    "csrf": False,
    "registration_mode": "approval",
    "p2p_token": "",
    "p2p_network_id": "",
    "federated": False,
    "galleries": [],
    "backend_galleries": [],
    "autoload_galleries": True,
    "autoload_backend_galleries": True,
    "agent_job_retention_days": 30,
    "open_responses_store_ttl": "720h",
    "agent_pool_enabled": True,
    "agent_pool_default_model": "",
    "agent_pool_embedding_model": "granite-embedding-107m-multilingual",
    "agent_pool_max_chunking_size": 400,
    "agent_pool_chunk_overlap": 0,
    "agent_pool_enable_logs": False,
    "agent_pool_collection_db_path": "",
    "agent_pool_vector_engine": "",
    "agent_pool_database_url": "",
    "agent_pool_agent_hub_url": "",
    "distributed_disk_headroom_check": False,
    "localai_assistant_enabled": False,
    "instance_name": "",
    "instance_tagline": "",
    "logo_file": "",
    "logo_horizontal_file": "",
    "favicon_file": "",
    "mitm_listen": "",
    "pii_default_detectors": [],
}


def refused(api, body):
    """The error of a POST that is refused, which leaves everything as it was."""
    before, rows = api.get(URL).json(), ServerSetting.objects.count()
    answer = api.post(URL, body)
    assert answer.status_code == 400, answer.content
    assert answer.json().keys() == {"success", "error"}
    assert answer.json()["success"] is False
    assert api.get(URL).json() == before
    assert ServerSetting.objects.count() == rows
    return answer.json()["error"]


def test_r28_set_every_key_is_there_with_its_default(as_alice):
    """GET /api/settings: the full object; tracing and backend logs are on, bodies off."""
    found = as_alice.get(URL).json()

    keys = found.pop("api_keys")
    assert len(set(keys)) == 2
    assert found.pop("environment") == {}
    assert found == DEFAULTS


OTHER_VALUES = {
    bool: lambda value: not value,
    int: lambda value: value + 7,
    float: lambda _value: 0.5,
}
CHANGED = {
    "watchdog_idle_timeout": "1h30m",
    "watchdog_busy_timeout": "500ms",
    "watchdog_interval": "1.5s",
    "lru_eviction_retry_interval": "2m0s",
    "open_responses_store_ttl": "0",
    "vram_budget": "80%",
    "cors_allow_origins": "https://a.example,https://b.example:8443",
    "registration_mode": "invite",
    "galleries": [{"url": "https://g.example/index.yaml", "name": "mine"}],
    "backend_galleries": [{"url": "https://b.example/g.yaml", "name": "ours"}],
    "pii_default_detectors": ["names"],
}
READ_ONLY = {"logo_file", "logo_horizontal_file", "favicon_file"}
SECRETS = {"p2p_token", "agent_pool_database_url"}


@pytest.mark.parametrize("name", sorted(DEFAULTS.keys() - READ_ONLY - SECRETS))
def test_each_key_is_changed_alone_and_comes_back_as_it_was_written(as_alice, name):
    """POST /api/settings: partial; Go durations come back as they were given."""
    default = DEFAULTS[name]
    new = CHANGED.get(name) or OTHER_VALUES.get(type(default), lambda _value: "some text")(default)
    before = as_alice.get(URL).json()

    answer = as_alice.post(URL, {name: new})

    assert (answer.status_code, answer.json()) == (200, DONE)
    after = as_alice.get(URL).json()
    assert after[name] == new
    assert type(after[name]) is type(new)
    followed = {"watchdog_enabled", "single_backend", "max_active_backends"}
    changed = {key for key in after if after[key] != before[key]}
    assert {name} <= changed <= {name} | followed


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ("SET:watchdog_enabled SET:watchdog_idle_enabled SET:watchdog_busy_enabled", bool),
        ("SET:single_backend SET:force_eviction_when_busy SET:memory_reclaimer_enabled", bool),
        ("SET:f16 SET:debug SET:enable_tracing SET:enable_backend_logging SET:cors SET:csrf", bool),
        ("SET:federated SET:autoload_galleries SET:autoload_backend_galleries", bool),
        ("SET:agent_pool_enabled SET:agent_pool_enable_logs", bool),
        ("SET:max_active_backends SET:lru_eviction_max_retries SET:threads SET:context_size", int),
        ("SET:tracing_max_items SET:tracing_max_body_bytes SET:agent_job_retention_days", int),
        ("SET:agent_pool_max_chunking_size SET:agent_pool_chunk_overlap", int),
        ("SET:memory_reclaimer_threshold", float),
        ("SET:watchdog_idle_timeout SET:watchdog_busy_timeout SET:watchdog_interval", str),
        ("SET:lru_eviction_retry_interval SET:open_responses_store_ttl", str),
        ("SET:cors_allow_origins SET:p2p_token SET:p2p_network_id", str),
        ("SET:agent_pool_default_model SET:agent_pool_embedding_model", str),
        ("SET:agent_pool_collection_db_path", str),
        ("SET:galleries SET:backend_galleries SET:api_keys", list),
    ],
)
def test_r28_each_setting_of_section_5_has_the_contracts_type(as_alice, rows, kind):
    """R-28: with its type in `GET`; another type is refused by name, and the value is taken back."""
    whole = as_alice.get(URL).json()
    for row in rows.split():
        name = row.removeprefix("SET:")
        assert type(whole[name]) is kind, name
        assert name in refused(as_alice, {name: {"a": "mapping"}})
        assert as_alice.post(URL, {name: whole[name]}).json() == DONE


def test_what_get_gives_may_be_posted_back_whole(as_alice):
    """GET /api/settings, POST /api/settings: the whole object goes round."""
    whole = as_alice.get(URL).json()

    assert as_alice.post(URL, whole).json() == DONE
    assert as_alice.post(URL, {"threads": None}).json() == DONE
    assert as_alice.post(URL, {}).json() == DONE
    assert not ServerSetting.objects.exists()
    assert not AuditRecord.objects.filter(action="settings_changed").exists()


WRONG = {
    "watchdog_idle_timeout": ["15 minutes", "", "-5m", "5", 15, "1h 30m", "x" * 100, True],
    "watchdog_interval": ["0s", "1ms", "2"],
    "open_responses_store_ttl": ["-1", 0, "forever"],
    "threads": [-1, 1.5, "4", True, 2**40, [], {}],
    "artifact_download_concurrency": [0],
    "memory_reclaimer_threshold": [0, 1.01, "0.5", -1],
    "watchdog_enabled": ["true", 1, 0, []],
    "vram_budget": ["0%", "101%", "12 apples", "-3GB", 12],
    "registration_mode": ["closed", "", 1],
    "cors_allow_origins": ["app.example", "https://a.example/path", "https://u:p@a.example", ["*"]],
    "galleries": [
        "https://g.example",
        [{"url": "https://g.example"}],
        [{"url": "ftp://g.example", "name": "x"}],
        [{"url": "file:///srv/g", "name": "x"}],
        [{"url": "https://g.example", "name": "../x"}],
        [{"url": "https://user:pass@g.example", "name": "x"}],
        [{"url": "https://g.example", "name": "x", "more": 1}],
        [{"url": "https://a.example", "name": "x"}, {"url": "https://b.example", "name": "x"}],
        [{"url": "https://[", "name": "x"}],
        [{"url": "https://g.example", "name": "x"}] * 101,
    ],
    "instance_name": ["a\nb", "nul\0", "x" * 5000, 5],
    "pii_default_detectors": ["one", [1]],
    "logo_file": ["mine.png"],
    "api_keys": ["one", [1], [""], ["with space"], ["umlaut-ü"], ["x" * 600], {"a": 1}],
    "p2p_token": [5, "x" * 5000],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, each in WRONG.items() for v in each])
def test_r10_a_wrong_value_is_a_400_that_names_the_key_and_nothing_is_saved(as_alice, name, value):
    assert name in refused(as_alice, {"instance_tagline": "fine by itself", name: value})


@pytest.mark.parametrize("name", ["watchdog_idel", "", "nul\0key", "x" * 1000, "environments"])
def test_r10_an_unknown_key_is_a_400_that_names_it(as_alice, name):
    assert f"Unknown setting: {name[:64]}" == refused(as_alice, {"threads": 4, name: 1})


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"threads": NaN}', b'"x"'])
def test_a_body_that_is_no_object_is_a_400_in_the_familys_envelope(as_alice, body):
    answer = as_alice("POST", URL, body)
    if body == b"":
        assert answer.json() == DONE  # nothing to change (G-02)
        return
    assert answer.status_code == 400
    assert answer.json() == {"success": False, "error": "Invalid request body"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.floats(0, 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
PLAUSIBLE = st.sampled_from(
    ["1h", "80%", "*", "0", "open", "https://a.example", "\0", "\u2022" * 4]
)


@hypothesis.settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(data=st.data())
def test_r27_whatever_is_posted_is_never_a_5xx_and_what_was_saved_can_be_read(as_alice, data):
    names = st.sampled_from(sorted(registered().keys() - {"csrf", "registration_mode"}))
    body = data.draw(st.dictionaries(names, JSON | PLAUSIBLE, max_size=4))

    answer = as_alice.post(URL, body)

    assert answer.status_code in {200, 400}, answer.content
    assert as_alice.get(URL).status_code == 200
    assert answer.json()["success"] is (answer.status_code == 200)


def test_a_duration_that_is_none_is_said_in_localais_words(as_alice):
    error = refused(as_alice, {"watchdog_idle_timeout": "soon"})

    assert error.startswith("Invalid watchdog_idle_timeout format: ")


def test_w18_a_change_is_in_the_trail_with_names_and_values(as_alice, alice):
    as_alice.post(URL, {"threads": 4, "watchdog_idle_enabled": True, "f16": False})

    (row,) = AuditRecord.objects.filter(action="settings_changed")
    assert (row.actor_id, row.actor_name) == (str(alice.pk), alice.email)
    assert row.before == {"threads": 0, "watchdog_idle_enabled": False, "watchdog_enabled": False}
    assert row.after == {"threads": 4, "watchdog_idle_enabled": True, "watchdog_enabled": True}
    assert as_alice.post(URL, {"threads": 4}).json() == DONE
    assert AuditRecord.objects.filter(action="settings_changed").count() == 1


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_r01_other_secrets_are_written_and_never_read(as_alice, name):
    """R-01: a mask instead; it keeps what it stands for, another one is refused, empty text clears."""
    secret = "postgres://u:canary-secret@db/agents"
    assert as_alice.post(URL, {name: secret}).json() == DONE

    shown = as_alice.get(URL).json()[name]
    assert shown
    assert "canary" not in shown
    kept = ServerSetting.objects.get(key=name).value
    assert "canary" not in str(kept) + str(list(AuditRecord.objects.values_list("after")))
    assert as_alice.post(URL, {name: shown}).json() == DONE
    assert as_alice.post(URL, {name: secret}).json() == DONE
    assert ServerSetting.objects.get(key=name).value == kept
    assert name in refused(as_alice, {name: shown + "0"})
    as_alice.post(URL, {name: ""})
    assert as_alice.get(URL).json()[name] == ""


def test_a_p2p_token_is_made_where_0_is_posted(as_alice):
    """SET:p2p_token."""
    as_alice.post(URL, {"p2p_token": "0"})
    first = as_alice.get(URL).json()["p2p_token"]
    as_alice.post(URL, {"p2p_token": "0"})

    assert as_alice.get(URL).json()["p2p_token"] not in {first, "", "0"}


def test_settings_stay_over_a_restart(as_alice):
    as_alice.post(URL, {"threads": 3, "api_keys": ["kept-over-a-restart"]})
    runtime.stored_settings.cache_clear()
    runtime.forget_auth_mode()

    assert as_alice.get(URL).json()["threads"] == 3
    assert Api(key="kept-over-a-restart").get(URL).status_code == 200


def test_a_row_that_this_version_does_not_understand_is_left_out(as_alice, caplog):
    ServerSetting.objects.create(key="threads", value="many")
    ServerSetting.objects.create(key="of_tomorrow", value=1)
    runtime.stored_settings().forget()

    assert as_alice.get(URL).json()["threads"] == 0
    assert "of_tomorrow" not in as_alice.get(URL).json()
    assert "of_tomorrow" in caplog.text


def test_reading_asks_the_database_for_no_more_than_who_is_calling(
    as_alice, django_assert_max_num_queries
):
    as_alice.post(URL, {"threads": 3})
    as_alice.get(URL)

    with django_assert_max_num_queries(4) as asked:
        as_alice.get(URL)
    assert not any("serversetting" in each["sql"] for each in asked.captured_queries)


def test_the_documentation_names_every_setting(settings):
    page = (settings.BASE_DIR / "docs" / "operations.md").read_text()
    section = page.partition("## Settings at run time")[2].partition("\n## ")[0]

    assert [name for name in registered() if f"`{name}`" not in section] == []


def test_r21_a_name_is_registered_once():
    assert "threads" in registered()
    with pytest.raises(ValueError, match="two settings"):
        register([SettingKey("threads", int, 1)])
