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
