from concurrent.futures import ThreadPoolExecutor

import pytest

from core.files import AlreadyHeldError, HeldLock, secret_from_file


def test_processes_that_start_together_agree_on_one_secret(tmp_path):
    path = tmp_path / "secrets" / "hmac"

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: secret_from_file(path), range(8)))

    assert len(found) == 1
    assert len(found.pop()) == 64
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_lock_is_held_once_and_free_after_release(tmp_path):
    lock = HeldLock(tmp_path / "x.lock")
    with pytest.raises(AlreadyHeldError):
        HeldLock(tmp_path / "x.lock")

    lock.release()

    HeldLock(tmp_path / "x.lock").release()
