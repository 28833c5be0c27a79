"""A model's configuration as a page: YAML that is judged on the server, aliases, nothing lost (R-19)."""

import html
import re

import pytest

from accounts.models import AuditRecord
from inference.model_configuration import as_yaml, of_row
from inference.models import Model, ModelAlias
from inference.tests.configured import file_of, make, on_disk
from inference.tests.model_pages import EVIL, post, text_of

EDIT = "/app/models/little/edit"


@pytest.fixture
def little(home):
    return make(home, description="A small one")


def typed(answer):
    found = re.search(
        r'<textarea[^>]*id="text"[^>]*>\n?(.*?)</textarea>', answer.content.decode(), re.DOTALL
    )
    return html.unescape(found[1])


def test_the_page_shows_the_configuration_and_what_it_may_hold(as_alice, little):
    answer = as_alice.get(EDIT)

    assert typed(answer).strip() == as_yaml(of_row(little)).strip()
    found = text_of(answer)
    assert "max_model_len Context length in tokens (integer)" in found
    assert "Source hf:o/x Backend vllm-cpu" in found
    assert "Its backend vllm-cpu is not installed" in found


def test_saving_changes_row_file_and_trail(as_alice, little, home):
    text = as_yaml(of_row(little)).replace("A small one", "Another").replace("\n", "\r\n")

    answer = post(as_alice, EDIT, {"text": text})

    assert answer.headers["location"] == EDIT
    assert Model.objects.get().description == "Another"
    assert on_disk(home)["description"] == "Another"
    record = AuditRecord.objects.get(action="model_changed")
    assert record.after == {"description": "Another"}
    assert "little is saved." in text_of(as_alice.get(EDIT))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("name: little\nsurprise: 1\n", 2, "surprise: is not a key of a configuration"),
        ("name: little\n\nreplicas: many\n", 3, "replicas"),
        ("name: little\nname: big\n", 2, "the key name is there twice"),
        ("name: [\n", None, ""),
        ("- a list\n", 1, "wants a mapping"),
        ("options: {surprise: 1}\n", 1, "no option surprise"),
        ("name: other\n", None, "it cannot be changed"),
        ("aliases: [little]\n", None, "aliases"),
        ("a: &x 1\nb: *x\n", 2, "aliases (*name) are not taken"),
        ("description: '" + "x" * 600 + "'\n", 1, "description"),
        (EVIL, 1, ""),
        ("", 1, "wants a mapping"),
    ],
)
def test_r10_a_fault_names_line_and_key_and_nothing_is_lost(as_alice, little, text, line, words):
    answer = post(as_alice, EDIT, {"text": text})

    assert answer.status_code == 422
    assert typed(answer).strip() == text.strip()
    page = answer.content.decode()
    assert re.search(r'id="text"[^>]*aria-invalid="true" aria-describedby="text-d"', page)
    said = text_of(answer)
    assert words.lower() in said.lower()
    if line:
        assert f"Line {line}." in said
    assert EVIL not in page
    assert Model.objects.get().description == "A small one"


def test_a_file_that_was_edited_by_hand_is_said_and_taken_over(as_alice, little, home):
    file = file_of(home)
    file.write_text(file.read_text().replace("A small one", "By hand"))

    answer = post(as_alice, EDIT, {"text": "name: little\n"})

    assert answer.status_code == 422
    assert "was changed by hand" in text_of(answer)
    assert "Read files again" in text_of(answer)
    assert post(as_alice, "/app/models/read-files").status_code == 302
    assert Model.objects.get().description == "By hand"
    assert "1 configuration changed." in text_of(as_alice.get(EDIT))


def test_a_faulty_file_changes_nothing_and_is_named(as_alice, little, home):
    file_of(home).write_text("name: little\nsurprise: 1\n")

    post(as_alice, "/app/models/read-files")

    assert "Little, line 2: surprise" in text_of(as_alice.get("/app/models"))


def test_aliases_are_set_one_a_line(as_alice, little, home):
    path = "/app/models/little/aliases"
    assert post(as_alice, path, {"aliases": "tiny\r\nsmall, short"}).status_code == 302
    assert set(ModelAlias.objects.values_list("name", flat=True)) == {"tiny", "small", "short"}
    assert "short\nsmall\ntiny" in as_alice.get(EDIT).content.decode()

    make(home, "big")
    answer = post(as_alice, path, {"aliases": "tiny\nbig"})
    assert answer.status_code == 422
    assert "aliases: big is a model already" in text_of(answer).lower()
    assert re.search(r'id="aliases"[^>]*aria-invalid="true"', answer.content.decode())
    assert ">tiny\nbig</textarea>" in answer.content.decode()
    assert ModelAlias.objects.count() == 3

    assert post(as_alice, path, {"aliases": ""}).status_code == 302
    assert not ModelAlias.objects.exists()


@pytest.mark.parametrize("path", [EDIT, "/app/models/o/n/edit", "/app/model-editor/x"])
def test_a_model_that_is_gone_leads_back(as_alice, home, path):
    for answer in (as_alice.get(path), post(as_alice, path, {"text": "name: x\n"})):
        assert answer.headers["location"] == "/app/models"
    assert post(as_alice, "/app/models/gone/aliases", {"aliases": "x"}).status_code == 302


def test_the_page_costs_a_fixed_number_of_queries(as_alice, little, django_assert_num_queries):
    """Frame (4), the model and its aliases."""
    for i in range(20):
        ModelAlias.objects.create(name=f"a{i}", model=little)
    with django_assert_num_queries(6):
        as_alice.get(EDIT)
