"""Legacy keys that admins set while the server runs (surface, section 5; R-01, R-21, W-19)."""

import json
import threading
import time
from contextlib import closing

import pytest
from django.db import connection, transaction

from accounts import legacy_keys, runtime, secret_versions
from accounts.audit import CLI
from accounts.models import AuditRecord, ServerSetting
from accounts.runtime_settings import store
from core.errors import InvalidRequestError
from tests.people import Api

URL = "/api/settings"
FROM_ENV = ["legacy-key-one", "legacy-key-two"]
LONG = "sk-a-long-key-of-somebodys-script-0001"


def works(key):
    return Api(key=key).get(URL).status_code == 200


def masks(api):
    return api.get(URL).json()["api_keys"]


def set_keys(api, keys):
    answer = api.post(URL, {"api_keys": keys})
    assert answer.status_code == 200, answer.content
    return masks(api)


def test_r01_a_key_works_at_once_and_is_revoked_at_once(as_alice):
    """R-01: `[]` removes the run-time ones; those of the environment stay."""
    assert not works("mine")
    set_keys(as_alice, ["mine", LONG])
    assert works("mine")
    assert works(LONG)
    set_keys(as_alice, [LONG])
    assert not works("mine")
    assert works(LONG)
    set_keys(as_alice, [])
    assert not works(LONG)
    assert all(works(key) for key in FROM_ENV)
    assert len(masks(as_alice)) == 2


def test_r01_keys_are_shown_as_distinct_masks_those_of_the_environment_first(as_alice):
    before = masks(as_alice)
    shown = set_keys(as_alice, ["b", "a", LONG])

    assert shown[:2] == before
    assert len(set(shown)) == 5
    for secret in [*FROM_ENV, LONG]:
        assert not any(secret in mask or secret[:8] in mask for mask in shown)
    assert LONG[-4:] in shown[4]  # the end of a long one, to know it by


def test_r01_a_mask_keeps_its_key_and_needs_no_secret(as_alice):
    shown = set_keys(as_alice, ["one", "two"])

    assert set_keys(as_alice, [*shown, "three"]) == [*shown, masks(as_alice)[-1]]
    assert works("one")
    assert works("three")
    assert set_keys(as_alice, [shown[3]]) == [*shown[:2], shown[3]]  # the environment's stay
    assert not works("one")
    assert works("two")
    assert not works(shown[3].encode().decode("latin-1"))


def test_r10_a_mask_that_stands_for_no_key_is_refused_and_becomes_no_key(as_alice):
    (mask,) = set_keys(as_alice, ["one"])[2:]
    set_keys(as_alice, [])

    answer = as_alice.post(URL, {"api_keys": [mask, "two"], "threads": 9})

    assert answer.status_code == 400
    assert "api_keys" in answer.json()["error"]
    assert not works("two")
    assert as_alice.get(URL).json()["threads"] == 0


def test_saving_again_and_again_doubles_no_key(as_alice):
    """LocalAI #9071: keys of the environment posted back, in clear or as masks, are not stored."""
    shown = set_keys(as_alice, [*FROM_ENV, "one", "one"])
    for _ in range(3):
        assert set_keys(as_alice, [*masks(as_alice), "one", *FROM_ENV]) == shown
    assert len(ServerSetting.objects.get(key="api_keys").value) == 1


def test_r21_only_hmacs_and_masks_are_kept(as_alice):
    set_keys(as_alice, [LONG])

    (kept,) = ServerSetting.objects.get(key="api_keys").value
    assert kept.keys() == {"digest", "key_id", "mask"}
    assert len(kept["digest"]) == 64
    trail = str(list(AuditRecord.objects.filter(action="settings_changed").values()))
    assert LONG not in trail + str(kept)
    assert kept["mask"] in trail


def test_no_digest_or_mask_from_the_table_is_a_key(as_alice):
    set_keys(as_alice, [LONG])
    (kept,) = ServerSetting.objects.get(key="api_keys").value

    assert not works(kept["digest"])
    assert Api().post("/api/auth/token-login", {"token": kept["digest"]}).status_code == 401
    assert Api().post("/api/auth/token-login", {"token": kept["mask"]}).status_code == 401
    assert not works("")


@pytest.mark.parametrize("header", ["authorization", "x_api_key", "xi_api_key", "bare"])
def test_a_run_time_key_is_an_admin_by_every_header(as_alice, header):
    """TOK-02."""
    set_keys(as_alice, ["mine"])
    value = "Bearer mine" if header == "authorization" else "mine"
    name = "authorization" if header == "bare" else header

    assert Api().get("/api/auth/admin/users", **{name: value}).status_code == 200


def test_s41_a_browser_session_of_a_run_time_key_ends_with_the_key(as_alice):
    set_keys(as_alice, ["mine", "other"])
    browser = Api()
    assert browser.post("/api/auth/token-login", {"token": "mine"}).status_code == 200
    assert browser.get(URL).status_code == 200
    set_keys(as_alice, ["other"])
    assert browser.get(URL).status_code == 401
    set_keys(as_alice, ["other", "mine"])
    assert browser.get(URL).status_code == 200


def test_w19_keys_on_an_open_server_lock_it_and_signing_in_with_one_works(db, settings):
    """W-19: no restart in between; the caller needs the key from the next request on."""
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"auth": False, "api_key": []})
    runtime.forget_auth_mode()
    try:
        anybody = Api()
        assert anybody.post(URL, {"api_keys": ["mine"]}).status_code == 200
        assert anybody.get(URL).status_code == 401
        assert Api().get("/api/auth/status").json()["staticApiKeyRequired"] is True
        assert anybody.post("/api/auth/token-login", {"token": "mine"}).status_code == 200
        assert anybody.post(URL, {"api_keys": []}).status_code == 200
        assert Api().get(URL).status_code == 200
    finally:
        runtime.forget_auth_mode()


def test_w19_the_file_of_keys_and_the_settings_do_not_overwrite_each_other(
    as_alice, settings, tmp_path, monkeypatch
):
    """`api_keys.json` is a source of its own: read while it changes, never written."""
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"config_dir": tmp_path})
    monkeypatch.setattr(legacy_keys, "LOOK_EVERY_S", -1.0)
    runtime.forget_auth_mode()
    try:
        path = tmp_path / "api_keys.json"
        path.write_text(json.dumps(["of-the-file"]))
        shown = set_keys(as_alice, ["mine"])
        assert len(shown) == 4
        assert set_keys(as_alice, shown) == shown
        set_keys(as_alice, [])
        assert works("of-the-file")
        assert json.loads(path.read_text()) == ["of-the-file"]
        path.write_text("[]")
        assert not works("of-the-file")
        assert len(ServerSetting.objects.get(key="api_keys").value) == 0
    finally:
        runtime.forget_auth_mode()


@pytest.mark.django_db(transaction=True)
def test_a_key_that_one_admin_revokes_is_not_brought_back_by_another_at_the_same_time():
    """Two pages were open; the second change waits for the first, and finds that the mask is gone."""
    store.change({"api_keys": ["one"]}, by=CLI)
    mask = store.shown()["api_keys"][-1]
    begun, outcomes = threading.Event(), []

    def revoke():
        with closing(connection), transaction.atomic():
            store.change({"api_keys": []}, by=CLI)
            begun.set()
            time.sleep(0.3)
            outcomes.append("revoked")

    def keep():
        with closing(connection):
            begun.wait(10)
            with pytest.raises(InvalidRequestError):
                store.change({"api_keys": [mask]}, by=CLI)
            outcomes.append("refused")

    threads = [threading.Thread(target=each) for each in (revoke, keep)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert outcomes == ["revoked", "refused"]
    assert ServerSetting.objects.get(key="api_keys").value == []


def test_w24_a_run_time_key_lives_through_a_rotation_and_is_listed_before_it_ends(
    as_alice, settings, tmp_path, make_user
):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"data_path": tmp_path})

    def start_again():
        kept = (runtime.secrets, runtime.keyring, runtime.generations, runtime.stored_settings)
        for cached in kept:
            cached.cache_clear()
        runtime.forget_auth_mode()

    start_again()
    try:
        api = Api(key="legacy-key-one")
        (mask,) = set_keys(api, ["mine"])[2:]
        (old,) = runtime.keyring("session").key_ids
        secret_versions.add()
        start_again()
        assert works("mine")
        assert set_keys(api, ["mine"])[2:] == [mask]
        assert secret_versions.depending_on(old)["run-time keys"] == 1
        secret_versions.retire(old)
        start_again()
        assert not works("mine")
        assert masks(api)[2:] == [mask]  # still listed, so that it can be replaced
    finally:
        settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={})
        start_again()
