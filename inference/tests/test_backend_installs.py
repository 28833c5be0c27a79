"""Installing backends for real: wheels of our own from an index on loopback, in environments of their own."""

import json
import subprocess
import threading
import uuid

import pytest

from accounts.runtime import env
from core.tests.hostile_server import says
from inference import backends_here, operations
from inference.backend_galleries import find
from inference.installing import install_backend, tool_environment
from inference.models import Operation, OperationState
from inference.operations import Action, Kind, Wish
from inference.recipes import recipes
from inference.tests.installs import environments, finish, run_deletion, run_install
from tests.stub_backend import recipe

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def test_a_backend_is_installed_upgraded_beside_the_old_one_and_deleted(index, offer):
    offer(recipe("1.0"))
    job = run_install()
    assert (job.state, job.progress, job.message) == (OperationState.DONE, 100, "")
    assert "gatehouse-stub" in job.log_tail or "gatehouse_stub" in job.log_tail
    old = recipes()["stub"]
    found = old.python(env().backends_path)
    said = subprocess.run([found, "-c", "import gatehouse_stub"], capture_output=True, text=True)
    assert "IndexError" in said.stderr  # it wants its socket, so it is there
    assert backends_here.installed_backends()["stub"].gallery == "own"

    assert run_install().state == OperationState.DONE  # it is there already: at once
    offer(recipe("2.0"))
    assert run_install().state == OperationState.DONE
    new = recipes()["stub"]
    assert (new.version, new.digest != old.digest) == ("2.0", True)
    assert environments() == sorted(
        [old.digest, new.digest]
    )  # an engine may still have the old one

    backends_here.remove_replaced({("stub", old.digest)})
    assert len(environments()) == 2
    backends_here.remove_replaced({("stub", new.digest)})
    assert environments() == [new.digest]
    assert recipes()["stub"] == new

    assert run_deletion().state == OperationState.DONE
    assert environments() == []
    assert run_deletion().message == "no backend found with name stub"


def test_going_back_to_the_version_before_makes_it_count_again(index, offer):
    for version in ("1.0", "2.0", "1.0"):
        offer(recipe(version))
        run_install()
        assert recipes()["stub"].version == version
    backends_here.remove_replaced(set())
    assert environments() == [recipes()["stub"].digest]


def test_what_a_release_installs_by_itself_leaves_the_version_before(index, offer):
    """Another server with the same backends path may be of the release before."""
    offer(recipe("1.0"))
    run_install()
    offer(recipe("2.0"))
    finish(operations.enqueue(Wish(Kind.BACKEND, Action.INSTALL, "stub")))
    assert recipes()["stub"].version == "2.0"

    backends_here.remove_replaced(set())

    assert len(environments()) == 2
    assert run_deletion().state == OperationState.DONE
    assert environments() == []


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

    job = run_install()

    assert job.state == OperationState.FAILED
    assert words in job.message
    assert environments() == []
    assert "stub" not in backends_here.installed_backends()


def test_r20_only_wheels_are_installed_from_elsewhere(index, offer):
    """A source package would run its own code while it is built."""
    page = b'<a href="/wheels/evil-1.0.tar.gz">evil-1.0.tar.gz</a>'
    index.serve["/simple/evil/"] = says(200, page, content_type="text/html")
    offer(recipe("1.0", install='[{requirements: ["evil==1.0"]}]'))

    assert "evil" in run_install().message
    assert not [head for head in index.asked if "tar.gz" in head.split("\r\n")[0]]


def test_r20_what_was_let_in_when_it_was_asked_for_has_to_be_so_when_its_turn_comes(
    index, offer, settings
):
    offer(recipe("1.0"))
    wish = Wish(Kind.BACKEND, Action.INSTALL, "stub", "own@stub", "alice@example.org")
    job = operations.enqueue(wish)
    settings.GATEHOUSE = env().model_copy(update={"external_backends": {}})

    assert "LOCALAI_EXTERNAL_BACKENDS" in finish(job).message
    assert environments() == []


def test_r06_an_index_inside_the_network_is_not_asked(index, offer, settings):
    offer(
        recipe(
            "1.0",
            install=f'[{{requirements: ["gatehouse-stub==1.0"], index: "{index.simple}"}}]',
        )
    )
    settings.GATEHOUSE = env().model_copy(update={"fetch_allow": []})

    assert "LOCALAI_FETCH_ALLOW" in run_install().message
    assert index.asked == []


def test_an_index_of_its_own_is_asked_where_pips_has_nothing(index, offer, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/empty")
    offer(
        recipe(
            "1.0",
            install=f'[{{requirements: ["gatehouse-stub==1.0"], index: "{index.simple}"}}]',
        )
    )

    job = run_install()

    assert (job.state, job.message) == (OperationState.DONE, "")


def test_a_backend_that_no_gallery_has_fails_in_its_job(index, offer):
    offer(recipe("1.0"))

    assert run_install("own@nothing").message == "no backend found with name own@nothing"


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
    assert environments() == ["mine", "old", "theirs"]  # it goes on where it stopped
    operations.cancel(str(ours.pk))
    operations.clean_up(ours)
    assert environments() == ["old", "theirs"]


def test_a_deletion_that_a_kill_broke_off_goes_on(index, offer):
    offer(recipe("1.0"))
    run_install()
    backends_here.take_down(backends_here.versions("stub"))
    assert backends_here.installed_backends() == {}

    assert run_deletion().state == OperationState.DONE
    assert environments() == []


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
