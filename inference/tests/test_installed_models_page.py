"""Install Models as a page: the models that are here, and what their buttons do."""

import pytest

from accounts.models import AuditRecord
from inference.models import Engine, EngineState, Model, ModelAlias, Operation
from inference.tests.model_pages import post, text_of
from inference.tests.test_gallery_api import make_model


def test_installed_models_say_state_size_and_names(as_alice, own, tmp_path):
    model = make_model("little", size_bytes=4_900_000_000, pinned=True, is_default=True)
    ModelAlias.objects.create(name="tiny", model=model)
    Engine.objects.create(model=model, state=EngineState.FAILED, message="out of memory")
    make_model("imported", backend="nowhere")

    found = text_of(as_alice.get("/app/models?show=installed")).replace("\u202f", " ")

    assert "little Default Pinned also tiny Failed out of memory 4.9 GB" in found
    assert "imported No backend Its backend is not installed. Unknown" in found
    assert "Installed models 1 model" in text_of(
        as_alice.get("/app/models?show=installed&term=imp")
    )
    assert "Installed" in text_of(as_alice.get("/app/models?term=little"))


@pytest.mark.parametrize(
    ("action", "fields", "words"),
    [
        ("disable", {"enabled": False}, "little is disabled."),
        ("enable", {"enabled": True}, "little is enabled."),
        ("pin", {"pinned": True}, "little stays in memory."),
        ("unpin", {"pinned": False}, "little may make room for others."),
        ("default", {"is_default": True}, "little is the default model."),
    ],
)
def test_r15_switches(as_alice, home, action, fields, words):
    opposite = {key: not value for key, value in fields.items()}
    make_model("little", **opposite)

    answer = post(as_alice, f"/app/models/little/{action}", {"next": "/app/models?show=installed"})

    assert answer.headers["location"] == "/app/models?show=installed"
    row = Model.objects.get()
    assert {key: getattr(row, key) for key in fields} == fields
    assert AuditRecord.objects.filter(action="model_changed").count() == 1
    assert words in text_of(as_alice.get("/app/models"))


@pytest.mark.parametrize("path", ["/app/models/none/disable", "/app/models/little/explode"])
def test_a_button_for_what_is_not_there_says_so(as_alice, own, path):
    make_model("little")
    assert post(as_alice, path).status_code == 302
    assert "There is nothing of that name here any more." in text_of(as_alice.get("/app/models"))


def test_loading_what_cannot_be_loaded_says_why(as_alice, own):
    make_model("little", backend="nowhere")
    post(as_alice, "/app/models/little/load")
    post(as_alice, "/app/models/little/unload")

    found = text_of(as_alice.get("/app/models"))
    assert "The backend of little, nowhere, is not installed." in found
    assert not AuditRecord.objects.filter(action="model_loaded").exists()


def test_deleting_asks_first(as_alice, own):
    make_model("little", size_bytes=4_900_000_000)

    asked = post(as_alice, "/app/models/little/delete", {"next": "/app/models"})
    assert "Delete little ?" in text_of(asked)
    assert "4.9 GB become free." in text_of(asked).replace("\u202f", " ")
    assert not Operation.objects.exists()

    answer = post(as_alice, "/app/models/little/delete", {"sure": "yes", "next": "/app/models"})
    assert answer.status_code == 302
    job = Operation.objects.get()
    assert (job.target, job.action) == ("little", "delete")
    assert AuditRecord.objects.filter(action="model_deleted").count() == 1
    assert as_alice.get("/app/models/none/delete").status_code == 302
