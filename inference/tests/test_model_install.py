"""Installing and deleting models: real files over loopback, and what is left when it fails."""

import io
import json
import threading
import zipfile
from collections import namedtuple

import pytest
from django.db import connections

from accounts.runtime import env
from core import fetcher as fetcher_module
from core.errors import InvalidRequestError
from core.gallery_list import GalleryAt
from core.tests.hostile_server import BODY, endless, ranged, says
from inference import deleting, gallery, operation_work, operations
from inference.engine_rows import context_length
from inference.installing import InstallError
from inference.log_files import LogWriter, log_folder, logged_models
from inference.model_abilities import of_folder
from inference.model_folders import CONFIGURATION, MANIFEST, model_folder
from inference.model_install import install_model, installed
from inference.models import Engine, EngineState, Model, Operation, OperationState
from inference.operations import Action, Kind, Wish
from inference.tests.installs import DIGEST, file_at, files_in, finish, is_untouched, run
from inference.wanted_models import wish_for_id

pytestmark = pytest.mark.django_db
CHAT_CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"]}).encode()


def test_files_at_addresses_become_a_model(home, server):
    files = [file_at(server), file_at(server, CHAT_CONFIG, "config.json")]

    job = run(name="own", files=files, backend="vllm-cpu", description="mine")

    assert (job.state, job.progress, job.message) == (OperationState.DONE, 100, "")
    row = Model.objects.get()
    assert (row.name, row.backend, row.description) == ("own", "vllm-cpu", "mine")
    assert row.capabilities == ["chat", "completions", "tokenize"]  # from its config.json
    assert files_in(home) == [
        "own/config.json",
        f"own/{MANIFEST}",
        f"own/{CONFIGURATION}",
        "own/model.bin",
    ]
    assert (home / "own" / "model.bin").read_bytes() == BODY


def test_r36_a_name_with_a_slash_is_one_folder(home, server):
    run(name="owner/own", files=[file_at(server)])

    assert Model.objects.get().directory == str(home / "owner--own")
    assert (
        finish(operations.enqueue(Wish(Kind.MODEL, Action.INSTALL, "owner--own", "x"))).state
        == "failed"
    )
    other = run(name="owner--own", files=[file_at(server)])
    assert (other.state, Model.objects.count()) == ("failed", 1)


@pytest.mark.parametrize("serve", [says(404), says(200, BODY[:-1]), endless, says(500)])
def test_r16_nothing_is_left_of_an_installation_that_failed(home, server, serve):
    files = [file_at(server, name="first.bin"), file_at(server)]
    server.serve["/model.bin"] = serve

    job = run(name="own", files=files)

    assert job.state == OperationState.FAILED
    assert job.message
    assert server.url not in job.message
    assert is_untouched(home)


def test_r16_an_interrupted_download_goes_on_where_it_stopped(home, server):
    server.serve["/model.bin"] = ranged(BODY)
    staging = home / ".staging" / "own" / "fetched"
    staging.mkdir(parents=True)
    (staging / "model.bin.part").write_bytes(BODY[:1000])
    note = {"url": f"{server.url}/model.bin", "validator": '"one"'}
    (staging / "model.bin.part.json").write_text(json.dumps(note))
    file = {"filename": "model.bin", "uri": f"{server.url}/model.bin", "sha256": DIGEST}

    assert run(name="own", files=[file]).state == OperationState.DONE
    assert "Range: bytes=1000-" in server.asked[0]


def test_r06_a_model_inside_the_network_is_refused(home, server, settings):
    settings.GATEHOUSE = env().model_copy(update={"fetch_allow": []})

    job = run(name="own", files=[file_at(server)])

    assert "LOCALAI_FETCH_ALLOW" in job.message
    assert server.asked == []


def archive_of(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/"), data)
    return out.getvalue()


def test_an_archive_is_unpacked(home, server):
    body = archive_of(**{"a__config.json": b"{}", "b.bin": b"1"})

    assert run(name="own", files=[file_at(server, body, "x.zip")]).state == OperationState.DONE
    assert files_in(home / "own") == ["a/config.json", "b.bin", MANIFEST, CONFIGURATION]


@pytest.mark.parametrize(
    "body",
    [archive_of(**{"..__evil": b"1"}), archive_of(bomb=b"\0" * (65 * 1024 * 1024)), b"no archive"],
    ids=["traversal", "bomb", "nonsense"],
)
def test_an_archive_that_means_harm_leaves_nothing(home, server, body):
    job = run(name="own", files=[file_at(server, body, "x.zip")])

    assert job.state == OperationState.FAILED
    assert "archive" in job.message
    assert is_untouched(home)
    assert not (home.parent / "evil").exists()


# --- ids, options, deletion ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked_for", ["gallery@nothing", "../../etc", "no name at all!", "x" * 400]
)
def test_an_unknown_id_fails_in_its_job(home, asked_for):
    job = finish(operations.enqueue(wish_for_id(asked_for, "alice@example.org")))

    assert job.state == OperationState.FAILED
    assert f"no model found with name {asked_for[:200]}" in job.message


def test_options_that_the_backend_does_not_have_are_refused_before_anything_is_fetched(
    home, server
):
    bad = {"options": {"surprise": 1}}

    job = run(name="own", files=[file_at(server)], backend="vllm-cpu", overrides=bad)

    assert "surprise" in job.message
    assert server.asked == []


def test_r05_a_model_whose_backend_is_not_known_here_is_installed_all_the_same(home, server):
    job = run(name="own", files=[file_at(server)], backend="some-other")

    assert job.state == OperationState.DONE
    assert Model.objects.get().backend == "some-other"


def test_an_entry_under_another_name_with_other_options(home, server, settings, tmp_path):
    entry = {
        "name": "one",
        "files": [file_at(server)],
        "overrides": {
            "options": {"max_model_len": 2048, "runner": "pooling"},
            "capabilities": ["chat"],
        },
    }
    (tmp_path / "g.yaml").write_text(json.dumps([entry]))
    listed = [GalleryAt(name="own", url=f"file://{tmp_path}/g.yaml")]
    settings.GATEHOUSE = env().model_copy(update={"galleries": listed})

    run(id="own@one", name="mine", overrides={"options": {"max_model_len": 512}})

    row = Model.objects.get()
    assert (row.name, row.options) == ("mine", {"max_model_len": 512, "runner": "pooling"})
    assert row.is_default


def test_the_same_again_is_done_at_once_and_something_else_of_that_name_is_refused(home, server):
    files = [file_at(server)]
    run(name="own", files=files)
    asked = len(server.asked)

    assert run(name="own", files=files).state == OperationState.DONE
    assert len(server.asked) == asked
    other = run(name="own", files=[file_at(server, b"other", "x.bin")])
    assert "already" in other.message


def test_a_model_that_an_older_version_installed_is_known_again(home):
    entry = gallery.built_in_gallery()["all-minilm-l6-v2"]
    (home / entry.name).mkdir()
    note = {"name": entry.name, "sha256": entry.files[0].sha256}
    (home / entry.name / MANIFEST).write_text(json.dumps(note))

    assert installed(entry, home).checksum == entry.files[0].sha256
    assert installed(gallery.built_in_gallery()["qwen3-0.6b"], home) is None


def test_deleting_takes_row_folder_and_log(home, server, monkeypatch):
    monkeypatch.setattr(deleting, "QUIET_S", 0.1)
    run(name="own", files=[file_at(server)])
    (home / "foreign").mkdir()
    LogWriter(log_folder(env().data_path, "own"), "own").write([("now", "stdout", "a line")])
    assert logged_models(env().data_path) == ["own"]

    job = finish(operations.enqueue(Wish(Kind.MODEL, Action.DELETE, "own")))

    assert job.state == OperationState.DONE
    assert not Model.objects.exists()
    assert not (home / "own").exists()
    assert (home / "foreign").exists()
    assert logged_models(env().data_path) == []
    again = finish(operations.enqueue(Wish(Kind.MODEL, Action.DELETE, "own", "own")))
    assert again.message == "no model found with name own"


@pytest.mark.django_db(transaction=True)
def test_deleting_waits_until_the_engine_has_stopped(home, server, monkeypatch):
    monkeypatch.setattr(deleting, "QUIET_S", 0.2)
    run(name="own", files=[file_at(server)])
    Engine.objects.create(model_id="own", state=EngineState.READY, pid=1)
    seen = {}

    def engine_process():
        seen["folder"] = (home / "own").exists()
        seen["enabled"] = Model.objects.get().enabled
        Engine.objects.update(state=EngineState.STOPPED, pid=None)
        connections.close_all()

    timer = threading.Timer(0.6, engine_process)
    timer.start()
    job = finish(operations.enqueue(Wish(Kind.MODEL, Action.DELETE, "own")))
    timer.join()

    assert seen == {"folder": True, "enabled": False}
    assert (job.state, Model.objects.count(), (home / "own").exists()) == ("done", 0, False)


def test_a_model_whose_engine_does_not_stop_stays_as_it_was(home, server, monkeypatch):
    monkeypatch.setattr(deleting, "STOP_TIMEOUT_S", 0.3)
    run(name="own", files=[file_at(server)])
    Engine.objects.create(model_id="own", state=EngineState.READY, pid=1)

    job = finish(operations.enqueue(Wish(Kind.MODEL, Action.DELETE, "own")))

    assert job.state == OperationState.FAILED
    assert Model.objects.get().enabled
    assert (home / "own" / "model.bin").exists()


def test_a_deletion_that_a_kill_broke_off_goes_on_or_leaves_the_model_as_it_was(
    home, server, monkeypatch
):
    monkeypatch.setattr(deleting, "STOP_TIMEOUT_S", 0.3)
    monkeypatch.setattr(deleting, "QUIET_S", 0.1)
    run(name="own", files=[file_at(server)])
    engine = Engine.objects.create(model_id="own", state=EngineState.READY, pid=1)
    job = operations.enqueue(Wish(Kind.MODEL, Action.DELETE, "own"))
    with monkeypatch.context() as patch:
        patch.setattr(deleting, "_is_let_go", lambda _name: 1 / 0)  # as if it were killed there
        work = Operation.objects.get(pk=job.pk)
        with pytest.raises(ZeroDivisionError):
            deleting.delete_model(work, lambda *_a, **_k: None)
    assert not Model.objects.get().enabled

    with pytest.raises(InstallError):
        deleting.delete_model(Operation.objects.get(pk=job.pk), lambda *_a, **_k: None)
    assert Model.objects.get().enabled

    Model.objects.update(enabled=False)  # killed there again, and given up
    operations.clean_up(job)
    assert Model.objects.get().enabled
    engine.delete()
    deleting.delete_model(Operation.objects.get(pk=job.pk), lambda *_a, **_k: None)
    again = Operation.objects.get(pk=job.pk)
    assert finish(again).state == OperationState.DONE  # the row went before its end was written


def test_a_configuration_without_bounds_tells_nothing(home, server):
    (home / "deep").mkdir()
    (home / "deep" / "config.json").write_text("[" * 200_000)
    (home / "long").mkdir()
    (home / "long" / "config.json").write_text('{"max_position_embeddings": 5}' + " " * 2_000_000)
    for name in ("deep", "long"):
        made = Model.objects.create(name=name, source="", backend="b", directory=str(home / name))
        assert context_length(made) == 0
        assert of_folder(home / name).capabilities == frozenset()


@pytest.mark.parametrize("chosen", [-1, 0, True, "64"])
def test_s52_what_the_engine_is_to_find_out_itself_is_no_context_length(home, chosen):
    """vLLM takes -1 so; a reservation of less than nothing would open a quota."""
    (home / "m").mkdir()
    (home / "m" / "config.json").write_text('{"max_position_embeddings": 512}')
    options = {"max_model_len": chosen}
    row = Model(name="m", backend="b", directory=str(home / "m"), options=options)
    assert context_length(row) == 512


@pytest.mark.parametrize(
    "options", [{"dtype": "x" * 2000}, {"dtype": "a\0b"}, {f"o{i}": 1 for i in range(60)}]
)
def test_options_have_bounds(options):
    with pytest.raises(InvalidRequestError):
        run(id="gatehouse@all-minilm-l6-v2", overrides={"options": options})


@pytest.mark.parametrize(
    "body",
    [{"id": "x\0y"}, {"url": "hf:o/m", "description": "a\0b"}, {"id": "a", "overrides": {"\0": 1}}],
)
def test_r27_no_text_holds_a_nul(body):
    with pytest.raises(InvalidRequestError):
        run(**body)


@pytest.mark.parametrize("serve", [says(200, BODY), endless], ids=["announced", "endless"])
def test_a_disk_without_room_is_said_and_not_filled(home, server, monkeypatch, serve):
    usage = namedtuple("usage", "free")(fetcher_module.SPARE_BYTES + 100_000)
    monkeypatch.setattr(fetcher_module.shutil, "disk_usage", lambda _path: usage)
    server.serve["/model.bin"] = serve
    file = {"filename": "model.bin", "uri": f"{server.url}/model.bin", "sha256": DIGEST}

    job = run(name="own", files=[file])

    assert job.message == fetcher_module.NO_ROOM
    assert is_untouched(home)


@pytest.mark.parametrize("name", ["../x", "", "a/b/c", ".staging", "x" * 300, "a\\b"])
def test_no_name_leads_out_of_the_models_path(home, name):
    with pytest.raises(ValueError, match="name"):
        model_folder(name, home)


def test_installing_a_row_that_was_whole_costs_no_download(home, server):
    entry = gallery.Entry.model_validate({"name": "own", "files": [file_at(server)]}, strict=False)
    arguments = {
        "folder": None,
        "models_path": home,
        "python": home,
        "report": lambda *_a, **_k: None,
    }

    first = install_model(entry, **arguments)
    asked = len(server.asked)

    assert install_model(entry, **arguments) == first
    assert len(server.asked) == asked
    with pytest.raises(InstallError):
        install_model(
            gallery.Entry.model_validate(
                {"name": "two", "files": [{"filename": "x", "uri": "file:gone"}]}
            ),
            **arguments,
        )


def test_progress_says_bytes_and_phase(home, server, monkeypatch):
    monkeypatch.setattr(operation_work, "REPORT_EVERY_S", 0)
    seen = []
    monkeypatch.setattr(operation_work, "generations", lambda: seen_by(seen))

    run(name="own", files=[file_at(server)])

    assert (len(BODY), len(BODY), "downloading") in seen
    assert "downloading model.bin" in Operation.objects.get().log_tail


def seen_by(seen):
    """A counter whose every move looks at the row, as the pages do."""

    class Looking:
        def bump(self, _slot):
            seen.append(
                Operation.objects.values_list("current_bytes", "total_bytes", "phase").get()
            )

    return Looking()
