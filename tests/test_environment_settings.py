"""Settings as the environment has them: galleries and the fetcher (R-03, R-06), budgets of memory (R-31)."""

import json

import pytest

from core.gallery_list import GalleryAt
from localai_project.env import SettingError, read_env


@pytest.mark.parametrize(
    "value",
    [
        "nonsense",
        '{"name":"a","url":"https://x/y"}',
        '["https://x/y"]',
        '[{"name":"a"}]',
        '[{"name":"a","url":"ftp://x/y"}]',
        '[{"name":"a b","url":"https://x/y"}]',
        '[{"name":"a","url":"https://x/y","more":1}]',
        '[{"name":"a","url":"https://x/y"},{"name":"a","url":"https://x/z"}]',
    ],
)
def test_r03_a_malformed_list_of_galleries_stops_the_start_with_one_line(monkeypatch, value):
    monkeypatch.setenv("LOCALAI_GALLERIES", value)

    with pytest.raises(SettingError, match="LOCALAI_GALLERIES"):
        read_env()


def test_r03_the_list_of_galleries_is_read(monkeypatch):
    monkeypatch.setenv("LOCALAI_GALLERIES", json.dumps([{"name": "a", "url": "file:///srv/g"}]))
    monkeypatch.setenv("LOCALAI_FETCH_ALLOW", "10.0.0.0/8, fd00::/8")

    assert read_env().galleries == [GalleryAt(name="a", url="file:///srv/g")]
    assert read_env().fetch_allow == ["10.0.0.0/8", "fd00::/8"]
    monkeypatch.setenv("LOCALAI_FETCH_ALLOW", "everything")
    with pytest.raises(SettingError, match="LOCALAI_FETCH_ALLOW"):
        read_env()


def test_s02_a_password_in_an_engines_address_is_refused_and_not_shown(monkeypatch):
    """It would be in the log whenever the engine does not answer, and is of no use to it."""
    monkeypatch.setenv("LOCALAI_ENGINES", "chat=http://me:hunter2@box:8000")
    with pytest.raises(SettingError, match="LOCALAI_ENGINES: got a secret; wants") as caught:
        read_env()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["LOCALAI_RAM_BUDGET", "LOCALAI_VRAM_BUDGET"])
def test_r31_a_budget_that_is_none_stops_the_start_with_one_line(monkeypatch, name):
    monkeypatch.setenv(name, "a lot")
    with pytest.raises(SettingError, match=f"{name}: got 'a lot'; wants a share such as 80%"):
        read_env()
    monkeypatch.setenv(name, "8GiB")
    assert "8GiB" in {read_env().ram_budget, read_env().vram_budget}


def test_r03_the_galleries_of_backends_have_a_list_of_their_own(monkeypatch):
    given = [{"name": "a", "url": "file:///srv/recipes"}]
    monkeypatch.setenv("LOCALAI_BACKEND_GALLERIES", json.dumps(given))

    assert read_env().backend_galleries == [GalleryAt(name="a", url="file:///srv/recipes")]
    assert read_env().galleries is None
    monkeypatch.setenv("LOCALAI_BACKEND_GALLERIES", "[1]")
    with pytest.raises(SettingError, match="LOCALAI_BACKEND_GALLERIES"):
        read_env()


def test_r20_recipes_from_elsewhere_are_let_in_by_address_and_sha256(monkeypatch):
    one, two = "a" * 64, "B" * 64
    uri = "https://example.org/r.yaml?x=1"
    monkeypatch.setenv("LOCALAI_EXTERNAL_BACKENDS", f"{uri}#{one}, {uri}#{two},file:///srv/r#{one}")

    assert read_env().external_backends == {
        uri: frozenset({one, two.lower()}),
        "file:///srv/r": frozenset({one}),
    }


@pytest.mark.parametrize(
    "value",
    [
        "https://example.org/r.yaml",
        "https://example.org/r.yaml#abc",
        "https://example.org/r.yaml#" + "g" * 64,
        "#" + "a" * 64,
        "oci://quay.io/x#" + "a" * 64,
        "https://user:secret@example.org/r.yaml#" + "a" * 64,
        "*",
    ],
)
def test_r20_whatever_else_is_said_there_stops_the_start_with_one_line(monkeypatch, value):
    monkeypatch.setenv("LOCALAI_EXTERNAL_BACKENDS", value)

    with pytest.raises(SettingError, match="LOCALAI_EXTERNAL_BACKENDS: ") as caught:
        read_env()
    assert "\n" not in str(caught.value)
