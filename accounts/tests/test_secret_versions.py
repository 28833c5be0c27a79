"""Rotation of the secrets (S-46, W-24): nothing dies by adding, and what dies by retiring is told."""

import stat

import pytest
from django.core.management import CommandError, call_command

from accounts import api_keys, runtime, secret_versions
from accounts.audit import CLI
from accounts.lookup import load_principal
from accounts.models import ApiKey, SecretVersion
from core.keyring import Keyring

pytestmark = pytest.mark.django_db


@pytest.fixture
def own(settings, tmp_path):
    """A data path of its own; `reload` is what a start does."""

    def reload():
        for cached in (runtime.secrets, runtime.keyring, runtime.generations):
            cached.cache_clear()

    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"data_path": tmp_path})
    reload()
    yield reload
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={})
    reload()


def test_w24_a_key_lives_through_a_rotation_and_moves_to_the_new_secret(own, bob):
    key, secret = api_keys.create(bob, name="k", expires_at=None, by=CLI)
    old = key.digest_key_id

    new = secret_versions.add()
    own()

    assert load_principal("api-key", secret).user_id == str(bob.pk)
    assert ApiKey.objects.get().digest_key_id == new != old
    assert secret_versions.depending_on(old)["API keys"] == 0
    call_command("rotatesecrets", "--retire", old, "--yes")
    own()
    assert load_principal("api-key", secret).user_id == str(bob.pk)
    assert load_principal("api-key", "lai-" + "0" * 64) is None


def test_s46_what_dies_is_listed_and_asked_for(own, bob, monkeypatch, capsys):
    key, secret = api_keys.create(bob, name="k", expires_at=None, by=CLI)
    secret_versions.add()
    own()
    monkeypatch.setattr("builtins.input", lambda _question: "n")
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("rotatesecrets", "--retire", key.digest_key_id)
    assert "1 API keys" in capsys.readouterr().out

    secret_versions.retire(key.digest_key_id)
    own()

    assert load_principal("api-key", secret) is None


def test_the_secret_that_signs_is_not_retired(own):
    (signing,) = runtime.keyring("session").key_ids

    with pytest.raises(CommandError, match="this secret signs"):
        call_command("rotatesecrets", "--retire", signing, "--yes")
    with pytest.raises(CommandError, match="no secret"):
        call_command("rotatesecrets", "--retire", "nope", "--yes")


def test_the_file_stays_the_servers_alone(own, tmp_path):
    runtime.keyring("session")
    secret_versions.add()

    path = tmp_path / "secrets" / "hmac"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().split()) == 2


def test_a_replica_with_other_secrets_says_so_and_stops(own):
    assert secret_versions.check_secrets() is None
    assert secret_versions.check_secrets() is None
    SecretVersion.objects.all().delete()
    SecretVersion.objects.create(key_id=Keyring(["x" * 40], "session").key_ids[0])

    assert "are not those" in secret_versions.check_secrets()
