from concurrent.futures import ThreadPoolExecutor

import pytest

from core.attempts import Attempts, Rate


def test_the_sixth_attempt_in_a_minute_waits_for_the_first_to_leave_the_window(tmp_path):
    attempts, rate = Attempts(tmp_path / "a.sqlite3"), Rate.parse("5/m")

    waits = [attempts.take("sign-in", "1.2.3.4", rate, now=100.0 + i) for i in range(6)]

    assert waits[:5] == [0.0] * 5
    assert waits[5] == pytest.approx(55.0)
    assert attempts.take("sign-in", "1.2.3.4", rate, now=160.5) == 0.0
    assert attempts.take("sign-in", "5.6.7.8", rate, now=105.0) == 0.0


def test_refused_attempts_do_not_extend_the_window(tmp_path):
    attempts, rate = Attempts(tmp_path / "a.sqlite3"), Rate(1, 10.0)
    attempts.take("k", "w", rate, now=0.0)

    for now in (1.0, 5.0, 9.0):
        assert attempts.take("k", "w", rate, now=now) > 0

    assert attempts.take("k", "w", rate, now=10.1) == 0.0


def test_parallel_attempts_admit_exactly_the_limit(tmp_path):
    attempts, rate = Attempts(tmp_path / "a.sqlite3"), Rate(7, 60.0)

    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: attempts.take("k", "w", rate), range(40)))

    assert waits.count(0.0) == 7


@pytest.mark.parametrize("text", ["", "5", "m/5", "0/m", "-1/m", "5/d", "5/"])
def test_a_malformed_rate_is_an_error(text):
    with pytest.raises(ValueError, match="N/s"):
        Rate.parse(text)
