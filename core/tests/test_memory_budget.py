"""Budgets of memory: a share or a size."""

import pytest

from core.memory_budget import budget_bytes, check_budget, shown_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80%", 8_000_000_000),
        ("0.5%", None),
        ("12.5%", 1_250_000_000),
        ("100%", 10_000_000_000),
        ("4GB", 4_000_000_000),
        ("4G", 4_000_000_000),
        ("4GiB", 4 * 1024**3),
        ("1.5GB", 1_500_000_000),
        ("512MiB", 512 * 1024**2),
        ("1000000", 1_000_000),
        ("5TB", 10_000_000_000),  # never more than there is
        ("", None),
    ],
)
def test_a_budget_is_read_as_it_is_written(text, expected):
    assert budget_bytes(text, 10_000_000_000) == expected


@pytest.mark.parametrize("text", ["101%", "0", "-1GB", "GB", "4 GB", "4XB", "1e9", "80%\n"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(ValueError, match="wants a share"):
        check_budget(text)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 bytes"), (3_200_000_000, "3.2 GB"), (1_000_000, "1.0 MB"), (5e12, "5.0 TB")],
)
def test_sizes_are_shown_to_people(size, expected):
    assert shown_bytes(size) == expected
