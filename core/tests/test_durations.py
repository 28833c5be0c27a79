from datetime import timedelta

import pytest

from core.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", timedelta(days=90)),
        ("1y", timedelta(days=365)),
        ("24h", timedelta(hours=24)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
    ],
)
def test_go_durations_and_days(text, expected):
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0d", "-1d", "d", "5", "1w", "999999y", "h1", "1h 1m", "0s", "1e3s"]
)
def test_what_is_no_positive_duration_is_an_error(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)
