"""Galleries: what an entry may hold, which fault is said how, several of them at once."""

import threading

import pytest

from accounts.audit import CLI
from accounts.runtime import env
from accounts.runtime_settings import store
from core.gallery_list import GalleryAt
from core.tests.hostile_server import answer, says
from inference import fetched_galleries, gallery
from inference.gallery_schema import GalleryFaultError, read_entries
from inference.model_sources import HubSource, LocalSource, WheelSource, read_source

ENTRY = """
- name: tiny
  description: small
  license: MIT
  tags: [chat]
  files: [{filename: tiny.bin, uri: "https://example.org/tiny.bin"}]
"""


@pytest.fixture
def with_galleries(settings, tmp_path):
    def use(**named):
        listed = [GalleryAt(name=name, url=url) for name, url in named.items()]
        changed = {
            "galleries": listed,
            "data_path": tmp_path / "data",
            "fetch_allow": ["127.0.0.0/8"],
        }
        settings.GATEHOUSE = env().model_copy(update=changed)
        fetched_galleries._failed.clear()

    return use


@pytest.mark.django_db
def test_r03_an_admin_names_galleries_while_the_server_runs_and_the_environment_wins(
    with_galleries,
):
    named = [{"url": "https://g.example/index.yaml", "name": "own"}]
    store.change({"galleries": named}, by=CLI)
    assert [each.name for each in gallery.configured()] == ["own"]
    store.change({"galleries": []}, by=CLI)
    assert gallery.configured() == [gallery.BUILT_IN_AT]

    store.change({"galleries": named}, by=CLI)
    with_galleries(ours="https://h.example/index.yaml")
    assert [each.name for each in gallery.configured()] == ["ours"]


def test_the_built_in_gallery_holds_two_models_of_pypi_and_many_of_the_hub():
    entries = gallery.built_in_gallery()
    sources = [read_source(entry.files[0].uri) for entry in entries.values()]

    assert list(entries)[:2] == ["smollm2-135m-instruct", "all-minilm-l6-v2"]
    assert sum(isinstance(source, WheelSource) for source in sources) == 2
    assert len({s.repository for s in sources if isinstance(s, HubSource)}) >= 20
    assert all(entry.license and entry.capabilities for entry in entries.values())


def test_r32_what_was_not_looked_at_is_unknown():
    of_the_hub = [
        e for e in gallery.built_in_gallery().values() if e.files[0].uri.startswith("hf:")
    ]

    assert all(entry.checked is None for entry in of_the_hub)


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("license: MIT", "licence: MIT"), 4, "licence: is not a key"),
        (("tags: [chat]", "tags: chat"), 5, "tags"),
        (("tags: [chat]", "tags: [1]"), 5, "tags.0"),
        (("license: MIT", "name: again"), 4, "twice"),
        (("name: tiny", "name: ../tiny"), 2, "name"),
        (("name: tiny", "name: a/b/c"), 2, "name"),
        (("filename: tiny.bin", "filename: ../x"), 6, "files.0.filename"),
        (("filename: tiny.bin", "filename: /etc/x"), 6, "files.0.filename"),
        (("https://example.org/tiny.bin", "ftp://x/y"), 6, "files.0.uri"),
        (("https://example.org/tiny.bin", "http://x/y"), 2, "sha256"),
        (("https://example.org/tiny.bin", "https://u:p@x/y"), 6, "files.0.uri"),
        (('"}]', '", sha256: abc}]'), 6, "files.0.sha256"),
    ],
)
def test_r04_a_faulty_entry_is_named_by_gallery_and_line(change, line, words):
    with pytest.raises(GalleryFaultError) as caught:
        read_entries(ENTRY.replace(*change), called="gallery own")

    assert str(caught.value).startswith(f"gallery own, line {line}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["a: 1", "1", "- 1", "[[]]", "- name: x"])
def test_what_is_no_list_of_entries_is_refused(text):
    with pytest.raises(GalleryFaultError):
        read_entries(text, called="gallery own")


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("hf:Qwen/Qwen3-0.6B", HubSource("Qwen/Qwen3-0.6B")),
        ("hf:a/b@v1.0", HubSource("a/b", "v1.0")),
        ("huggingface://a/b", HubSource("a/b")),
        ("file:folder/x", LocalSource("folder/x")),
        ("file:///srv/x", LocalSource("/srv/x")),
        ("pypi:x-y==1.0#m/n", WheelSource("x-y==1.0", "m/n")),
    ],
)
def test_r19_sources_are_read_apart(uri, source):
    assert read_source(uri) == source


@pytest.mark.parametrize(
    "uri",
    [
        "hf:a",
        "hf:a/b/c",
        "hf:../b",
        "hf:a/..",
        "hf:a/b@../x",
        "hf:a/b?x=1",
        "file:../x",
        "file:a/../../x",
        "file:%2e%2e/x",
        "file://host/x",
        "pypi:x#y",
        "pypi:x==1 --index-url=evil#y",
        "pypi:x==1#../y",
        "javascript:x",
        "nothing",
        "https://",
        "https://a b",
    ],
)
def test_r19_sources_that_lead_elsewhere_are_refused(uri):
    with pytest.raises(ValueError, match=r"wants|is not|not an"):
        read_source(uri)


def test_r03_a_folder_of_files_is_a_gallery(with_galleries, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "a.yaml").write_text(ENTRY)
    (folder / "b.yaml").write_text(ENTRY.replace("tiny", "other"))
    (folder / "notes.txt").write_text("no")
    with_galleries(own=f"file://{folder}")

    assert [each.id for each in gallery.every(gallery.shelves())] == ["own@tiny", "own@other"]
    assert gallery.find("other").folder == folder
    assert gallery.find("smollm2-135m-instruct") is None  # the built-in one is replaced


def test_r07_a_gallery_is_made_of_plain_files(with_galleries, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.yaml").write_text(ENTRY)
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "a.yaml").symlink_to(tmp_path / "real" / "x.yaml")
    with_galleries(own=f"file://{folder}")

    assert "plain file" in gallery.shelves()[0].fault


def test_r04_one_unreadable_gallery_leaves_the_others(with_galleries, tmp_path, caplog):
    good, broken = tmp_path / "good.yaml", tmp_path / "broken.yaml"
    good.write_text(ENTRY)
    broken.write_text(ENTRY + "  wrong: 1\n")
    with_galleries(good=f"file://{good}", broken=f"file://{broken}", gone="file:///nowhere/x.yaml")

    read = gallery.shelves()

    assert [each.id for each in gallery.every(read)] == ["good@tiny"]
    assert read[1].fault == "gallery broken, line 7: wrong: is not a key of an entry"
    assert "gallery gone" in read[2].fault
    assert "/nowhere" not in read[2].fault
    assert "gallery broken, line 7" in caplog.text


def test_a_file_that_changes_is_read_again(with_galleries, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(ENTRY)
    with_galleries(own=f"file://{file}")
    assert gallery.find("tiny")

    file.write_text(ENTRY.replace("name: tiny", "name: another"))

    assert gallery.find("tiny") is None
    assert gallery.find("own@another")


def test_r03_a_gallery_at_an_address_is_fetched_once_and_kept(with_galleries, server, monkeypatch):
    server.serve["/models.yaml"] = says(200, ENTRY.encode())
    with_galleries(web=f"{server.url}/models.yaml")

    for _ in range(3):
        assert gallery.find("web@tiny")
    assert len(server.asked) == 1

    monkeypatch.setattr(fetched_galleries, "FRESH_S", -1)
    server.serve["/models.yaml"] = says(500)
    for _ in range(3):
        (shelf,) = gallery.shelves()
    assert [entry.name for entry in shelf.entries] == ["tiny"]
    assert shelf.fault == "gallery web: The server answers 500."
    assert len(server.asked) == 2


def test_r04_galleries_elsewhere_are_asked_at_the_same_time(with_galleries, server):
    both_asked = threading.Barrier(2, timeout=5)

    def once_both_are_asked(connection, _head):
        both_asked.wait()
        connection.sendall(answer(200, ENTRY.encode()))

    server.serve |= {"/one": once_both_are_asked, "/two": once_both_are_asked}
    with_galleries(one=f"{server.url}/one", two=f"{server.url}/two")

    found = gallery.every(gallery.shelves())

    assert [each.id for each in found] == ["one@tiny", "two@tiny"]


def test_offline_nobody_is_asked(with_galleries, server):
    with_galleries(web=f"{server.url}/models.yaml")

    assert gallery.find("tiny", offline=True) is None
    assert server.asked == []


@pytest.mark.parametrize("body", [b"\xff\xfe", b"- name: [", b"<html>", b"x" * (5 * 1024 * 1024)])
def test_what_an_address_gives_is_judged_as_a_file_is(with_galleries, server, body):
    server.serve["/models.yaml"] = says(200, body)
    with_galleries(web=f"{server.url}/models.yaml")

    (shelf,) = gallery.shelves()

    assert shelf.fault.startswith("gallery web")
    assert not shelf.entries


def test_r06_a_gallery_inside_the_network_is_not_asked(settings, with_galleries, server):
    with_galleries(web=f"{server.url}/models.yaml")
    settings.GATEHOUSE = env().model_copy(update={"fetch_allow": []})

    assert "LOCALAI_FETCH_ALLOW" in gallery.shelves()[0].fault
    assert server.asked == []
