"""Archives that lead out, link, or unpack to more than there is room for."""

import io
import stat
import tarfile
import zipfile

import pytest

from core.archives import ArchiveError, is_archive, unpack

LIMIT = 1024 * 1024


def zipped(path, members, *, mode=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if mode is not None:
                info.external_attr = mode << 16
            archive.writestr(info, data)
    return path


def tarred(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def refused(archive, tmp_path):
    with pytest.raises(ArchiveError):
        unpack(archive, tmp_path / "to", max_bytes=LIMIT)
    assert not (tmp_path / "to").exists()
    assert not (tmp_path / "evil").exists()


def test_folders_count_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr("core.archives.MAX_FILES", 10)
    folders = [(member(f"d{i}", tarfile.DIRTYPE), b"") for i in range(20)]
    refused(tarred(tmp_path / "a.tgz", *folders), tmp_path)
    refused(zipped(tmp_path / "a.zip", [(f"d{i}/", b"") for i in range(20)]), tmp_path)


def test_plain_files_come_out(tmp_path):
    unpack(
        zipped(tmp_path / "a.zip", [("x/y.txt", b"1"), ("z", b"2")]),
        tmp_path / "one",
        max_bytes=LIMIT,
    )
    unpack(tarred(tmp_path / "a.tgz", (member("x/y.txt"), b"1")), tmp_path / "two", max_bytes=LIMIT)

    assert (tmp_path / "one" / "x" / "y.txt").read_bytes() == b"1"
    assert (tmp_path / "one" / "z").read_bytes() == b"2"
    assert (tmp_path / "two" / "x" / "y.txt").read_bytes() == b"1"


@pytest.mark.parametrize("name", ["../evil", "/evil", "x/../../evil", "..\\evil", "x\nevil"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    refused(zipped(tmp_path / "a.zip", [("fine", b"1"), (name, b"2")]), tmp_path)
    refused(tarred(tmp_path / "a.tgz", (member("fine"), b"1"), (member(name), b"2")), tmp_path)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_are_refused(tmp_path, kind):
    refused(tarred(tmp_path / "a.tgz", (member("x", kind, "/etc/passwd"), b"")), tmp_path)
    refused(zipped(tmp_path / "a.zip", [("x", b"/etc")], mode=stat.S_IFLNK | 0o777), tmp_path)


def test_bombs_are_broken_off(tmp_path):
    zeros = b"\0" * (LIMIT + 1)
    refused(zipped(tmp_path / "a.zip", [("x", zeros)]), tmp_path)
    refused(tarred(tmp_path / "a.tgz", (member("x"), zeros)), tmp_path)
    refused(zipped(tmp_path / "b.zip", [(f"{i}", zeros[: LIMIT // 4]) for i in range(5)]), tmp_path)
    refused(zipped(tmp_path / "c.zip", [(str(i), b"") for i in range(10_001)]), tmp_path)


def test_a_header_that_is_a_bomb_is_broken_off(tmp_path):
    long = member("x", tarfile.GNUTYPE_LONGNAME)

    refused(tarred(tmp_path / "a.tgz", (long, b"n" * 100_000)), tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice_is_no_way_to_overwrite(tmp_path):
    refused(zipped(tmp_path / "a.zip", [("x", b"1"), ("x", b"2")]), tmp_path)
    refused(zipped(tmp_path / "b.zip", [("x", b"1"), ("x/y", b"2")]), tmp_path)


@pytest.mark.parametrize("data", [b"", b"nonsense" * 100, b"PK\x03\x04 broken", b"\x1f\x8b broken"])
def test_what_is_no_archive_is_said_so(tmp_path, data):
    (tmp_path / "a.zip").write_bytes(data)

    refused(tmp_path / "a.zip", tmp_path)


def test_archives_are_known_by_their_names():
    assert is_archive("x.TAR.GZ")
    assert not is_archive("model.gguf")
