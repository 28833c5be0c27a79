"""Installing backends for real: wheels of our own from an index on loopback, in environments of their own."""

import hashlib
import json
import subprocess
import threading
import uuid

import pytest

from accounts.runtime import env
from core.gallery_list import GalleryAt
from core.tests.hostile_server import says
from inference import backend_work, backends_here, model_install, operation_work, operations
from inference.backend_galleries import find
from inference.engine_rows import local_targets
from inference.installing import install_backend, tool_environment
from inference.models import Engine, EngineState, Model, Operation, OperationState
from inference.operations import Action, Kind, Wish
from inference.recipes import recipes
from inference.tests.installs import file_at, finish, run
from tests.stub_backend import Index, recipe

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture
def index(monkeypatch):
    one = Index("1.0", "2.0")
    for name, value in one.for_pip.items():
        monkeypatch.setenv(name, value)
    yield one
    one.close()


@pytest.fixture
def offer(home, settings, tmp_path, monkeypatch):
    """Recipes in a gallery of ours, let in by the environment."""
    monkeypatch.setattr(backends_here, "REMEMBERED_S", 0)
    monkeypatch.setattr(backend_work, "QUIET_S", 0.1)

    def use(*texts):
        file = tmp_path / "own.yaml"
        file.write_text("".join(texts))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        uri = f"file://{file}"
        changed = {
            "backend_galleries": [GalleryAt(name="own", url=uri)],
            "external_backends": {uri: frozenset({digest})},
        }
        settings.GATEHOUSE = env().model_copy(update=changed)

    return use


def install(name="own@stub"):
    wish = Wish(Kind.BACKEND, Action.INSTALL, name.rpartition("@")[2], name, "alice@example.org")
    return finish(operations.enqueue(wish))


def delete(name="stub"):
    return finish(operations.enqueue(Wish(Kind.BACKEND, Action.DELETE, name, name)))


def folders():
    found = env().backends_path.glob("[a-z]*/*")  # what is being removed begins with a dot
    return sorted(path.name for path in found if path.is_dir())


def test_a_backend_is_installed_upgraded_beside_the_old_one_and_deleted(index, offer):
    offer(recipe("1.0"))
    job = install()
    assert (job.state, job.progress, job.message) == (OperationState.DONE, 100, "")
    assert "gatehouse-stub" in job.log_tail or "gatehouse_stub" in job.log_tail
    old = recipes()["stub"]
    found = old.python(env().backends_path)
    said = subprocess.run([found, "-c", "import gatehouse_stub"], capture_output=True, text=True)
    assert "IndexError" in said.stderr  # it wants its socket, so it is there
    assert backends_here.installed_backends()["stub"].gallery == "own"

    assert install().state == OperationState.DONE  # it is there already: at once
    offer(recipe("2.0"))
    assert install().state == OperationState.DONE
    new = recipes()["stub"]
    assert (new.version, new.digest != old.digest) == ("2.0", True)
    assert folders() == sorted([old.digest, new.digest])  # an engine may still have the old one

    backends_here.remove_replaced({("stub", old.digest)})
    assert len(folders()) == 2
    backends_here.remove_replaced({("stub", new.digest)})
    assert folders() == [new.digest]
    assert recipes()["stub"] == new

    assert delete().state == OperationState.DONE
    assert folders() == []
    assert delete().message == "no backend found with name stub"


def test_going_back_to_the_version_before_makes_it_count_again(index, offer):
    for version in ("1.0", "2.0", "1.0"):
        offer(recipe(version))
        install()
        assert recipes()["stub"].version == version
    backends_here.remove_replaced(set())
    assert folders() == [recipes()["stub"].digest]


def test_what_a_release_installs_by_itself_leaves_the_version_before(index, offer):
    """Another server with the same backends path may be of the release before."""
    offer(recipe("1.0"))
    install()
    offer(recipe("2.0"))
    finish(operations.enqueue(Wish(Kind.BACKEND, Action.INSTALL, "stub")))
    assert recipes()["stub"].version == "2.0"

    backends_here.remove_replaced(set())

    assert len(folders()) == 2
    assert delete().state == OperationState.DONE
    assert folders() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"install": '[{requirements: ["no-such-thing==1.0"]}]'}, "no-such-thing"),
        ({"install": '[{requirements: ["gatehouse-stub==7.7"]}]'}, "gatehouse-stub==7.7"),
        (
            {
                "install": '[{requirements: ["gatehouse-stub==1.0"]},'
                ' {requirements: ["gatehouse-stub==7.7"]}]'
            },
            "gatehouse-stub==7.7",
        ),
        (
            {"install": '[{requirements: ["gatehouse-stub==1.0 --hash=sha256:' + "0" * 64 + '"]}]'},
            "differs from the one that was pinned",
        ),
        ({"hardware": "[amd]"}, "this machine does not have"),
    ],
)
def test_r16_nothing_is_left_of_an_installation_that_failed(index, offer, changes, words):
    offer(recipe("1.0", **changes))

    job = install()

    assert job.state == OperationState.FAILED
    assert words in job.message
    assert folders() == []
    assert "stub" not in backends_here.installed_backends()


def test_r20_only_wheels_are_installed_from_elsewhere(index, offer):
    """A source package would run its own code while it is built."""
    page = b'<a href="/wheels/evil-1.0.tar.gz">evil-1.0.tar.gz</a>'
    index.serve["/simple/evil/"] = says(200, page, content_type="text/html")
    offer(recipe("1.0", install='[{requirements: ["evil==1.0"]}]'))

    assert "evil" in install().message
    assert not [head for head in index.asked if "tar.gz" in head.split("\r\n")[0]]


def test_r20_what_was_let_in_when_it_was_asked_for_has_to_be_so_when_its_turn_comes(
    index, offer, settings
):
    offer(recipe("1.0"))
    wish = Wish(Kind.BACKEND, Action.INSTALL, "stub", "own@stub", "alice@example.org")
    job = operations.enqueue(wish)
    settings.GATEHOUSE = env().model_copy(update={"external_backends": {}})

    assert "LOCALAI_EXTERNAL_BACKENDS" in finish(job).message
    assert folders() == []


def test_r06_an_index_inside_the_network_is_not_asked(index, offer, settings):
    offer(
        recipe(
            "1.0",
            install=f'[{{requirements: ["gatehouse-stub==1.0"], index: "{index.simple}"}}]',
        )
    )
    settings.GATEHOUSE = env().model_copy(update={"fetch_allow": []})

    assert "LOCALAI_FETCH_ALLOW" in install().message
    assert index.asked == []


def test_an_index_of_its_own_is_asked_where_pips_has_nothing(index, offer, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/empty")
    offer(
        recipe(
            "1.0",
            install=f'[{{requirements: ["gatehouse-stub==1.0"], index: "{index.simple}"}}]',
        )
    )

    assert install().state == OperationState.DONE


def test_a_backend_that_no_gallery_has_fails_in_its_job(index, offer):
    offer(recipe("1.0"))

    assert install("own@nothing").message == "no backend found with name own@nothing"


def test_no_secret_of_ours_is_told_to_pip(monkeypatch):
    monkeypatch.setenv("LOCALAI_API_KEY", "s3cret")
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")

    found = tool_environment()

    assert "s3cret" not in found.values()
    assert found["PIP_INDEX_URL"] == "https://mirror.example/simple"
    assert "PATH" in found


def test_r16_what_is_half_made_goes_with_its_operation_and_not_with_others(home, offer):
    offer(recipe("1.0"))
    ours = operations.enqueue(Wish(Kind.BACKEND, Action.INSTALL, "stub"))
    for name, made_by in (("mine", str(ours.pk)), ("theirs", str(uuid.uuid4())), ("old", "")):
        folder = env().backends_path / "stub" / name
        folder.mkdir(parents=True)
        (folder / "making").write_text(made_by)
    Operation.objects.update(state=OperationState.RUNNING)

    operations.resume_interrupted()
    assert folders() == ["mine", "old", "theirs"]  # it goes on where it stopped
    operations.cancel(str(ours.pk))
    operations.clean_up(ours)
    assert folders() == ["old", "theirs"]


def test_a_deletion_that_a_kill_broke_off_goes_on(index, offer):
    offer(recipe("1.0"))
    install()
    backends_here.take_down(backends_here.versions("stub"))
    assert backends_here.installed_backends() == {}

    assert delete().state == OperationState.DONE
    assert folders() == []


# --- models and their backends ---------------------------------------------------------------------


def test_r05_a_model_says_which_backend_it_misses_until_it_is_there(index, offer, server):
    offer(recipe("1.0"))
    run(name="own", files=[file_at(server)], backend="stub")
    (target,) = local_targets([])
    assert (target.state, target.message) == ("failed", "its backend stub is not installed")

    install()

    (target,) = local_targets([])
    assert target.state == "loading"
    Engine.objects.create(model_id="own", state=EngineState.STOPPED)
    assert local_targets([])[0].state == "stopped"
    delete()
    assert local_targets([])[0].message == "its backend stub is not installed"


def test_a_models_backend_comes_with_it_unless_an_admin_says_otherwise(
    offer, home, server, monkeypatch
):
    """SET:autoload_backend_galleries: on, installing a model asks for its backend, too."""
    offer(recipe("1.0"))
    run(name="one", files=[file_at(server)], backend="stub")
    assert not Operation.objects.filter(kind=Kind.BACKEND).exists()

    monkeypatch.setattr(operation_work, "value", lambda name: name == "autoload_backend_galleries")
    run(name="two", files=[file_at(server)], backend="stub")

    row = Operation.objects.get(kind=Kind.BACKEND)
    assert (row.target, row.asked_by, row.state) == ("stub", "alice@example.org", "queued")


def test_a_backend_that_may_not_be_installed_does_not_come_with_a_model(
    offer, home, server, settings, monkeypatch
):
    """SET:autoload_backend_galleries: a model is no way around R-20."""
    monkeypatch.setattr(operation_work, "value", lambda _name: True)
    offer(recipe("1.0"))
    settings.GATEHOUSE = env().model_copy(update={"external_backends": {}})

    run(name="own", files=[file_at(server)], backend="stub")

    assert not Operation.objects.filter(kind=Kind.BACKEND).exists()


CONVERTED = (
    '#!/bin/sh\nfor last; do :; done\necho converted > "$3/model.safetensors"\nenv > "$3/env"\n'
)


def fake_backend():
    """An installed backend whose Python is a script that writes where the converter should."""
    found = recipes()["stub"]
    python = found.python(env().backends_path)
    python.parent.mkdir(parents=True)
    python.write_text(CONVERTED)
    python.chmod(0o700)
    folder = found.folder(env().backends_path)
    (folder / "backend.json").write_text(json.dumps(backends_here.note_of(find("own@stub"))))
    (folder / "installed").write_text("1.0")
    backends_here.make_current(found)


def gguf(server):
    entry = {"convert": "gguf", "architecture": "LlamaForCausalLM", "capabilities": ["chat"]}
    return {
        "name": "own",
        "files": [file_at(server, name="m.gguf")],
        "backend": "stub",
        "overrides": entry,
    }


def test_r19_what_is_to_be_converted_waits_for_its_backend_and_goes_on(
    offer, home, server, monkeypatch
):
    monkeypatch.setenv("LOCALAI_API_KEY", "s3cret")
    offer(recipe("1.0"))
    job = run(**gguf(server))

    assert job.state == OperationState.QUEUED
    assert job.message == "downloaded, not prepared: waits for backend stub"
    assert not Model.objects.exists()
    assert operations.next_queued() is None
    later = operations.enqueue(Wish(Kind.MODEL, Action.DELETE, "nothing"))
    assert operations.next_queued() == later  # what waits holds up nobody
    finish(later)
    asked = len(server.asked)

    fake_backend()
    assert operations.next_queued() == job
    Operation.objects.filter(pk=job.pk).update(state=OperationState.RUNNING)
    job = finish(Operation.objects.get(pk=job.pk))

    assert (job.state, len(server.asked)) == (OperationState.DONE, asked)  # nothing fetched again
    assert (home / "own" / "model.safetensors").read_text() == "converted\n"
    assert "s3cret" not in (home / "own" / "env").read_text()
    assert not (home / ".staging" / "own").exists()


def test_r19_what_waits_and_is_cancelled_leaves_nothing(offer, home, server):
    offer(recipe("1.0"))
    job = run(**gguf(server))
    Operation.objects.filter(pk=job.pk).update(started_at="2026-01-01T00:00:00Z")
    assert (home / ".staging" / "own" / model_install.BROUGHT).exists()
    operations.resume_interrupted()  # a restart of everything
    assert (home / ".staging" / "own" / model_install.BROUGHT).exists()

    operations.cancel(str(job.pk))

    assert not (home / ".staging" / "own").exists()
    job.refresh_from_db()
    assert job.state == OperationState.CANCELLED


def test_r19_a_backend_that_nobody_offers_is_not_waited_for(offer, home, server):
    offer(recipe("1.0"))

    job = run(**{**gguf(server), "backend": "other"})

    assert job.state == OperationState.FAILED
    assert "other, which nobody offers" in job.message
    assert not (home / ".staging" / "own").exists()


def test_r19_the_child_that_went_back_into_the_queue_did_not_fail(offer, home, server):
    offer(recipe("1.0"))
    job = run(**gguf(server))

    operations.end_unexpectedly(job)
    job.refresh_from_db()
    assert job.state == OperationState.QUEUED

    Operation.objects.filter(pk=job.pk).update(state=OperationState.RUNNING)
    operations.end_unexpectedly(job)
    job.refresh_from_db()
    assert job.message == "The installer ended unexpectedly."


def test_two_at_once_make_one_environment(index, offer):
    """Another server may have the same backends path: the second finds what the first made."""
    offer(recipe("1.0"))
    found = find("own@stub").recipe
    folder = env().backends_path
    errors = []

    def work():
        try:
            install_backend(found, folder, lambda *_, **__: None, note={"x": 1})
        except Exception as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert errors == []
    assert found.is_installed(folder)
    assert json.loads((found.folder(folder) / "backend.json").read_text()) == {"x": 1}
