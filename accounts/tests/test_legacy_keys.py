"""Legacy keys that change while the server runs (contract 2.3, W-19)."""

import json

import pytest

from accounts import legacy_keys, runtime
from tests.people import Api


@pytest.fixture
def file(settings, tmp_path, monkeypatch):
    """Write `api_keys.json` of a server whose folder this is; it is looked at every time."""
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(
        update={"config_dir": tmp_path, "api_key": ["from-env"]}
    )
    monkeypatch.setattr(legacy_keys, "LOOK_EVERY_S", -1.0)
    runtime.forget_auth_mode()

    def write(content):
        (tmp_path / "api_keys.json").write_text(
            content if isinstance(content, str) else json.dumps(content)
        )

    yield write
    runtime.forget_auth_mode()


def works(key):
    return Api(key=key).get("/v1/models").status_code == 200


def test_keys_of_the_file_come_and_go_without_a_restart_and_the_settings_stay(db, file):
    assert works("from-env")
    assert not works("one")
    file(["one", "two"])
    assert works("one")
    assert works("two")
    file(["two"])
    assert not works("one")
    assert works("two")
    assert works("from-env")


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]", '[""]', '["' + "x" * 600 + '"]'])
def test_a_file_that_makes_no_sense_leaves_the_last_good_keys(db, file, content):
    file(["one"])
    assert works("one")
    file(content)

    assert works("one")
    assert works("from-env")
    assert not works("")


def test_keys_that_come_at_run_time_can_sign_in_a_browser(db, file, settings):
    """W-19: the route is there as soon as the keys are."""
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"auth": False, "api_key": []})
    runtime.forget_auth_mode()
    assert Api().post("/api/auth/token-login", {"token": "late"}).status_code == 404
    file(["late"])

    browser = Api()
    assert browser.get("/v1/models").status_code == 401
    assert browser.post("/api/auth/token-login", {"token": "late"}).status_code == 200
    assert browser.get("/v1/models").status_code == 200
    file([])
    assert Api().get("/api/auth/status").json()["staticApiKeyRequired"] is False
