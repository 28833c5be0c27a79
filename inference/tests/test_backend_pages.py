"""Backends as a page: what is offered and here, installing, upgrading side by side, removing."""

import hashlib

import pytest

from accounts.models import AuditRecord
from accounts.runtime import env
from core.gallery_list import GalleryAt
from inference import fetched_galleries, operations
from inference.models import Engine, EngineState, Operation, OperationState
from inference.operations import Action, Kind, Wish
from inference.tests.model_pages import EVIL, HTMX, post, text_of
from inference.tests.offered_backends import GALLERY, put, use
from inference.tests.test_gallery_api import make_model
from tests.stub_backend import recipe

PATH = "/app/backends"


@pytest.fixture(autouse=True)
def offered(own_backends):
    return own_backends


def row_of(answer, name):
    found = text_of(answer)
    return found[found.index(f" {name} ") :]


def test_each_says_what_it_is_and_whether_it_runs_here(as_alice):
    put()
    make_model("m", backend="stub")

    answer = as_alice.get(PATH)

    found = text_of(answer)
    assert "What runs the models. This machine: CPU." in found
    assert "stub A stub Serves chat, completions Installed 1.0 CPU 1" in found
    assert "big A stub Serves chat, completions Needs NVIDIA 2.0 NVIDIA 0" in found
    assert "ears A stub Serves transcription Not installed 3.0 CPU 0 Install ears" in found


def test_one_that_nobody_offers_any_more_is_still_there(as_alice, own_backends):
    put("old", "0.1")
    assert "old A stub Serves chat, completions Installed 0.1" in text_of(as_alice.get(PATH))


def test_installing_asks_as_the_api_does(as_alice, alice):
    assert post(as_alice, f"{PATH}/add", {"id": "own@stub"}).headers["location"] == PATH

    job = Operation.objects.get()
    assert (job.kind, job.target, job.asked_by) == ("backend", "stub", alice.email)
    assert AuditRecord.objects.filter(action="backend_installed").count() == 1
    page = as_alice.get(PATH)
    assert "Queued" in row_of(page, "stub")
    live = post(as_alice, f"{PATH}/add", {"id": "own@stub"}, **HTMX)
    assert "<html" not in live.content.decode()
    assert Operation.objects.count() == 1


def test_r33_an_upgrade_is_offered_and_shown_as_one(as_alice, settings, own_backends):
    put()
    text = recipe("1.1")
    (own_backends / "own.yaml").write_text(text)
    uri = f"file://{own_backends}/own.yaml"
    use(settings, external_backends={uri: frozenset({hashlib.sha256(text.encode()).hexdigest()})})
    assert "1.1 available" in text_of(as_alice.get(PATH))

    assert post(as_alice, f"{PATH}/stub/upgrade").status_code == 302

    Operation.objects.update(state=OperationState.RUNNING, progress=71)
    found = text_of(as_alice.get(PATH)).replace("\u202f", " ")
    assert "Upgrading stub" in found
    assert "Upgrading 71 % 1.0 1.1 available" in found


@pytest.mark.parametrize(
    ("name", "words"), [("stub", "stub is up to date."), ("none", "There is nothing")]
)
def test_an_upgrade_that_makes_no_sense_is_refused_in_words(as_alice, name, words):
    put()
    assert post(as_alice, f"{PATH}/{name}/upgrade").status_code == 302
    assert words in text_of(as_alice.get(PATH))
    assert not Operation.objects.exists()


def test_r20_a_recipe_that_is_not_let_in_is_not_installed(as_alice, settings):
    use(settings, external_backends={})
    found = text_of(as_alice.get(PATH))
    assert "Not allowed here" in found
    assert "Install stub" not in found

    post(as_alice, f"{PATH}/add", {"id": "own@stub"})
    assert "LOCALAI_EXTERNAL_BACKENDS" in text_of(as_alice.get(PATH))
    assert not Operation.objects.exists()
    form = text_of(as_alice.get(f"{PATH}/external"))
    assert "No recipe from elsewhere is allowed on this server." in form
    answer = post(as_alice, f"{PATH}/external", {"uri": "https://evil.example/r.yaml"})
    assert answer.status_code == 422
    assert not Operation.objects.exists()


def test_r20_an_allowed_recipe_is_added_by_its_address(as_alice, own_backends):
    uri = f"file://{own_backends}/own.yaml"
    answer = post(as_alice, f"{PATH}/external", {"uri": uri})
    assert answer.status_code == 422
    assert "wants one of stub, big, ears" in text_of(answer)
    assert uri in answer.content.decode()  # what was typed
    assert (
        post(as_alice, f"{PATH}/external", {"uri": uri, "name": "stub", "alias": "!"}).status_code
        == 422
    )

    assert post(as_alice, f"{PATH}/external", {"uri": uri, "name": "stub"}).status_code == 302
    assert Operation.objects.get().details == {"uri": uri}


def test_removing_asks_first_and_says_what_is_in_use(as_alice):
    put()
    model = make_model("m", backend="stub")
    asked = post(as_alice, f"{PATH}/stub/remove")
    assert "Remove stub ?" in text_of(asked)
    assert "1 model stays here" in text_of(asked)
    assert not Operation.objects.exists()

    engine = Engine.objects.create(model=model, state=EngineState.READY)
    post(as_alice, f"{PATH}/stub/remove", {"sure": "yes"})
    assert "stop these models first: m." in text_of(as_alice.get(PATH))
    engine.delete()
    post(as_alice, f"{PATH}/stub/remove", {"sure": "yes"})
    assert Operation.objects.get().action == "delete"
    assert as_alice.get(f"{PATH}/none/remove").status_code == 404


def test_checking_for_upgrades_reads_the_galleries_again(as_alice):
    put()
    assert post(as_alice, f"{PATH}/check").headers["location"] == PATH
    assert "Every backend is up to date." in text_of(as_alice.get(PATH))


def test_a_failure_is_one_line_with_its_log(as_alice):
    wish = Wish(Kind.BACKEND, Action.INSTALL, "stub", "own@stub", "mara")
    job = operations.enqueue(wish)
    fields = {"state": OperationState.FAILED, "message": EVIL, "log_tail": "10:00:00 pip said no"}
    Operation.objects.filter(pk=job.pk).update(**fields)

    page = as_alice.get(PATH).content.decode()

    assert EVIL not in page
    assert f"/app/operations/{job.pk}" in page
    assert "Try again" in page
    assert "pip said no" in text_of(as_alice.get(f"/app/operations/{job.pk}"))


def test_r04_a_gallery_that_cannot_be_read_is_named(as_alice, settings, own_backends):
    (own_backends / "bad.yaml").write_text(f"- name: '{EVIL}'\n")
    both = [GalleryAt(name=n, url=f"file://{own_backends}/{n}.yaml") for n in ("own", "bad")]
    use(settings, backend_galleries=both)

    answer = as_alice.get(PATH)

    assert "The gallery “ bad ” could not be read. Line 1: " in text_of(answer)
    assert "ears" in text_of(answer)
    assert EVIL not in answer.content.decode()
    assert str(own_backends) not in answer.content.decode()


def test_a_gallery_elsewhere_does_not_hold_up_the_page(as_alice, settings):
    use(settings, backend_galleries=[GalleryAt(name="far", url="http://192.0.2.1/r.yaml")])
    fetched_galleries._failed.clear()

    assert "Reading the galleries…" in text_of(as_alice.get(PATH))
    found = text_of(as_alice.get(f"{PATH}?wait=1", **HTMX))
    assert "The gallery “ far ” could not be read." in found


def test_the_page_costs_the_same_few_queries(as_alice, django_assert_num_queries):
    """Frame (4), operations, models by backend, last logs."""
    with django_assert_num_queries(7):
        as_alice.get(PATH)
    put()
    for i in range(20):
        make_model(f"m{i}", backend="stub")
        operations.enqueue(Wish(Kind.BACKEND, Action.INSTALL, f"b{i}", f"b{i}"))
    with django_assert_num_queries(7):
        assert as_alice.get(PATH).status_code == 200
    with django_assert_num_queries(5):
        as_alice.get(f"{PATH}/live")


def test_the_built_in_recipes_are_offered(as_alice, settings):
    use(settings, backend_galleries=None)
    assert "vllm-cpu" in text_of(as_alice.get(PATH))
    assert GALLERY
    assert env().backend_galleries is None
