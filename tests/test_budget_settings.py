"""`LOCALAI_RAM_BUDGET` and `LOCALAI_VRAM_BUDGET` as the start reads them (R-31)."""

import pytest

from localai_project.env import SettingError, read_env


@pytest.mark.parametrize("name", ["LOCALAI_RAM_BUDGET", "LOCALAI_VRAM_BUDGET"])
def test_r31_a_budget_that_is_none_stops_the_start_with_one_line(monkeypatch, name):
    monkeypatch.setenv(name, "a lot")
    with pytest.raises(SettingError, match=f"{name}: got 'a lot'; wants a share such as 80%"):
        read_env()
    monkeypatch.setenv(name, "8GiB")
    assert "8GiB" in {read_env().ram_budget, read_env().vram_budget}
