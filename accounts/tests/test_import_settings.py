"""`manage.py importsettings`: LocalAI's files are imported once and never written (R-21)."""

import json

import pytest
from django.core.management import CommandError, call_command

from accounts.models import AuditRecord, ServerSetting
from tests.people import Api

pytestmark = pytest.mark.django_db
OF_LOCALAI = {
    "watchdog_idle_enabled": True,
    "watchdog_idle_timeout": "1h0m0s",
    "max_active_backends": 2,
    "threads": None,
    "csrf": False,
    "galleries": [{"url": "github:mudler/LocalAI/gallery/index.yaml@master", "name": "localai"}],
    "api_keys": ["of-localai", "legacy-key-one"],
    "of_another_version": 1,
}


def stored():
    return dict(ServerSetting.objects.values_list("key", "value"))


def test_r21_what_fits_is_taken_and_the_rest_is_named(tmp_path, capsys):
    path = tmp_path / "runtime_settings.json"
    path.write_text(json.dumps(OF_LOCALAI))

    call_command("importsettings", str(path))

    said = capsys.readouterr()
    assert "Unknown setting: of_another_version" in said.err
    assert "galleries" in said.err
    assert "5 of 8" in said.out
    assert "of-localai" not in said.out + said.err
    assert stored().keys() == {
        "watchdog_idle_enabled",
        "watchdog_enabled",
        "watchdog_idle_timeout",
        "max_active_backends",
        "api_keys",
    }
    assert Api(key="of-localai").get("/api/settings").json()["watchdog_idle_timeout"] == "1h0m0s"
    assert set(AuditRecord.objects.values_list("source", flat=True)) == {"cli"}
    assert json.loads(path.read_text()) == OF_LOCALAI


def test_r21_a_second_import_changes_nothing(tmp_path):
    path = tmp_path / "runtime_settings.json"
    path.write_text(json.dumps(OF_LOCALAI))
    call_command("importsettings", str(path))
    before, records = stored(), AuditRecord.objects.count()

    call_command("importsettings", str(path))

    assert (stored(), AuditRecord.objects.count()) == (before, records)


def test_r21_a_list_of_keys_is_taken_too(tmp_path):
    path = tmp_path / "api_keys.json"
    path.write_text('["one", "two"]')

    call_command("importsettings", str(path))

    assert all(Api(key=key).get("/api/settings").status_code == 200 for key in ("one", "two"))


@pytest.mark.parametrize("content", ["", "{", "5", '"x"', "null"])
def test_a_file_that_makes_no_sense_is_refused(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)

    with pytest.raises(CommandError):
        call_command("importsettings", str(path))
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("importsettings", str(tmp_path / "none.json"))
    assert stored() == {}


def test_where_settings_are_switched_off_there_is_nothing_to_import(tmp_path, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"disable_runtime_settings": True})

    with pytest.raises(CommandError, match="LOCALAI_DISABLE_RUNTIME_SETTINGS"):
        call_command("importsettings", str(tmp_path / "x.json"))
