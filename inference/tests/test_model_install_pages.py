"""Install Models as a page: installing, its progress, its failures, its form."""

import html
import re

import pytest

from accounts.models import AuditRecord
from core.errors import InvalidRequestError
from inference.gallery_pages import install_form
from inference.models import Model, Operation, OperationState
from inference.tests.model_pages import EVIL, HTMX, post, text_of, under_way
from inference.tests.test_gallery_api import make_model
from inference.wanted_models import wish_in


def test_install_asks_as_the_api_does(as_alice, alice, own):
    answer = post(as_alice, "/app/models/add", {"id": "own@big", "next": "/app/models?term=b"})

    assert answer.headers["location"] == "/app/models?term=b"
    job = Operation.objects.get()
    assert (job.target, job.asked_for, job.asked_by) == ("big", "own@big", alice.email)
    assert AuditRecord.objects.filter(action="model_imported", subject_name="big").count() == 1
    assert "big is being installed." in text_of(as_alice.get("/app/models"))


@pytest.mark.parametrize("path", ["/app/models/add", "/app/backends/add"])
@pytest.mark.parametrize("name", ["a\0b", "own@a\x1b[31m", "a\nb"])
def test_a_name_of_control_characters_is_asked_for_by_nobody(as_alice, own, path, name):
    """PostgreSQL takes no NUL: it was a 500 there, and stood in the books on SQLite."""
    before = AuditRecord.objects.count()
    answer = post(as_alice, path, {"id": name})

    assert answer.status_code < 500
    assert not Operation.objects.exists()
    assert AuditRecord.objects.count() == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/backends/apply", {"id": "a\0b"}),
        ("/models/apply", {"id": "a\0b"}),
        (
            "/models/apply",
            {"name": "a\0b", "files": [{"filename": "x", "uri": "https://x.example/x"}]},
        ),
        ("/models/import-uri", {"uri": "https://x.example/a\0b"}),
        ("/api/backends/install-external", {"uri": "pypi://x", "name": "a\0b"}),
    ],
)
def test_nor_by_the_api(as_alice, own, path, body):
    assert 400 <= as_alice.post(path, body).status_code < 500
    assert not Operation.objects.exists()


def test_r36_a_name_with_a_slash_installs_and_is_edited(as_alice, own, home):
    post(as_alice, "/app/models/add", {"id": "own@owner/name"})
    make_model("owner/name")

    assert Operation.objects.get().target == "owner/name"
    assert as_alice.get("/app/models/owner/name/edit").status_code == 200
    assert as_alice.get("/app/model-editor/owner/name").status_code == 200
    assert post(as_alice, "/app/models/owner/name/disable").status_code == 302
    assert not Model.objects.get().enabled


def test_progress_is_on_the_card_and_in_the_panel(as_alice, own):
    running = {"state": OperationState.RUNNING, "progress": 42, "current_bytes": 6_900_000_000}
    under_way(**running, total_bytes=16_400_000_000, message="downloading model.bin")

    for path in ("/app/models", "/app/models/live"):
        found = text_of(as_alice.get(path)).replace("\u202f", " ")
        assert "Installing big downloading model.bin 6.9 GB of 16.4 GB" in found
        assert "Downloading, 6.9 GB of 16.4 GB 42 %" in found
        assert "Asked by mara" in found
    live = as_alice.get("/app/models/live").content.decode()
    assert 'data-every="1000"' in live
    assert live.count("hx-swap-oob") == 3


def test_a_button_of_htmx_gets_the_live_part(as_alice, own):
    answer = post(as_alice, "/app/models/add", {"id": "own@big"}, **HTMX)

    assert answer.status_code == 200
    assert "<html" not in answer.content.decode()
    assert "Queued" in text_of(answer)


def test_a_refusal_is_said_in_the_panel(as_alice, own):
    answer = post(as_alice, "/app/models/add", {"id": ""}, **HTMX)
    assert 'role="alert"' in answer.content.decode()
    assert "Invalid model ID." in text_of(answer)

    assert post(as_alice, "/app/models/add", {"id": "x" * 600}).status_code == 302
    assert "Invalid model ID." in text_of(as_alice.get("/app/models"))


def test_a_failure_is_one_line_with_try_again(as_alice, alice, own):
    job = under_way(state=OperationState.FAILED, message="The checksum does not match.")
    found = text_of(as_alice.get("/app/models"))
    assert "Installation failed. The checksum does not match. Try again" in found
    assert "big could not be installed. The checksum does not match." in found

    assert post(as_alice, f"/app/operations/{job.pk}/again").status_code == 302

    again = Operation.objects.exclude(pk=job.pk).get()
    assert (again.state, again.target, again.asked_by) == ("queued", "big", alice.email)
    job.refresh_from_db()
    assert job.dismissed
    assert "Installation failed" not in text_of(as_alice.get("/app/models"))


def test_try_again_of_what_is_not_there_is_no_error_page(as_alice, own):
    for job in ("nothing", "00000000-0000-4000-8000-000000000000", under_way().pk):
        assert post(as_alice, f"/app/operations/{job}/again").status_code == 302
    assert Operation.objects.count() == 1


def test_the_log_of_an_operation_has_a_page(as_alice, as_bob, own):
    job = under_way(log_tail=f"10:00:00 fetching\n10:00:01 {EVIL}", state=OperationState.FAILED)

    page = as_alice.get(f"/app/operations/{job.pk}")

    assert "fetching" in text_of(page)
    assert EVIL not in page.content.decode()
    assert as_alice.get("/app/operations/00000000-0000-4000-8000-000000000000").status_code == 404
    assert as_bob.get(f"/app/operations/{job.pk}").status_code == 302


def test_the_form_takes_a_name_options_and_aliases(as_alice, own, home):
    from inference.recipes import recipes

    assert "vllm-cpu" in recipes()
    page = as_alice.get("/app/models/install?id=gatehouse@smollm2-135m-instruct")
    assert page.status_code == 200
    assert "option-max_model_len" in page.content.decode()
    body = {
        "id": "gatehouse@smollm2-135m-instruct",
        "name": "mine",
        "aliases": "one, two",
        "option-max_model_len": "512",
    }
    assert post(as_alice, "/app/models/install", body).status_code == 302
    job = Operation.objects.get()
    assert job.target == "mine"
    assert job.details == {
        "overrides": {"options": {"max_model_len": 512}},
        "aliases": ["one", "two"],
    }


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"name": "../x"}, "name", "A model may not have this name."),
        ({"option-max_model_len": "many"}, "option-max_model_len", "Enter a whole number."),
        ({"aliases": "a b/../c"}, "aliases", "alias"),
    ],
)
def test_a_wrong_field_says_so_and_nothing_is_lost(as_alice, home, given, field, words):
    body = {"id": "gatehouse@smollm2-135m-instruct", "name": "kept", **given}
    answer = post(as_alice, "/app/models/install", body)

    assert answer.status_code == 422
    page = answer.content.decode()
    assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', page)
    assert words in text_of(answer)
    for value in given.values():
        assert html.escape(value) in page
    assert not Operation.objects.exists()


@pytest.mark.parametrize("number", ["nan", "inf", "1e999", "many"])
def test_a_number_that_is_none_goes_into_no_database(as_alice, home, monkeypatch, number):
    """JSON has no such number: PostgreSQL would refuse the row, and the page be an error."""
    option = ("gpu_memory_utilization", "number", 0.9, "")
    monkeypatch.setattr(install_form, "options_of", lambda _recipe: [option])
    body = {
        "id": "gatehouse@smollm2-135m-instruct",
        "name": "mine",
        "option-gpu_memory_utilization": number,
    }

    answer = post(as_alice, "/app/models/install", body)

    assert answer.status_code == 422
    assert "Enter a number." in text_of(answer)
    options = {"gpu_memory_utilization": float("nan")}
    with pytest.raises(InvalidRequestError):
        wish_in(
            {
                "id": "gatehouse@smollm2-135m-instruct",
                "name": "mine",
                "overrides": {"options": options},
            },
            "mara",
        )


def test_an_unknown_entry_has_no_form(as_alice, own):
    assert as_alice.get("/app/models/install?id=own@none").status_code == 404
    assert as_alice.get("/app/models/install").status_code == 404


@pytest.mark.parametrize(
    "next_", ["https://evil.example/", "//evil.example", "javascript:alert(1)"]
)
def test_nobody_is_sent_elsewhere(as_alice, own, next_):
    answer = post(as_alice, "/app/models/add", {"id": "own@big", "next": next_})

    assert answer.headers["location"].startswith("/app")
