"""A models path on a disk that is full: a small tmpfs, so that the kernel says it."""

import io
import os
import subprocess
import zipfile

import pytest

from core import fetcher as fetcher_module
from core.tests.hostile_server import endless, says
from inference.tests.installs import DIGEST, file_at, files_in, is_untouched, run

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root"),
]
DISK_BYTES = 4 * 1024 * 1024


@pytest.fixture
def small_disk(home):
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(home)]
    if (done := subprocess.run(mount, capture_output=True, text=True)).returncode:
        pytest.skip(f"no tmpfs may be mounted here: {done.stderr.strip()}")
    yield home
    subprocess.run(["umount", str(home)], check=True)


def zeros_in_a_zip(size):
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.bin", os.urandom(1024) + bytes(size))
    return body.getvalue()


def test_what_would_not_leave_the_spare_room_is_not_begun(small_disk, server):
    job = run(name="own", files=[file_at(server)])

    assert job.message == fetcher_module.NO_ROOM
    assert is_untouched(small_disk)


@pytest.mark.parametrize("how", ["announced", "endless", "unpacked"])
def test_a_disk_that_fills_up_ends_the_installation_and_leaves_nothing(
    small_disk, server, monkeypatch, how
):
    """Somebody else takes the room meanwhile: the kernel's ENOSPC, not our own reckoning."""
    monkeypatch.setattr(fetcher_module, "SPARE_BYTES", -64 * 1024 * 1024)
    if how == "unpacked":
        file = file_at(server, zeros_in_a_zip(2 * DISK_BYTES), "model.zip")
    else:
        large = os.urandom(DISK_BYTES + 1024)
        server.serve["/model.bin"] = says(200, large) if how == "announced" else endless
        file = {"filename": "model.bin", "uri": f"{server.url}/model.bin", "sha256": DIGEST}

    job = run(name="own", files=[file])

    assert job.message == "The disk is full. Free some space, then start again."
    assert is_untouched(small_disk)
    assert run(name="own", files=[file_at(server, b"small")]).state == "done"
    assert "own/model.bin" in files_in(small_disk)
