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


def shown_in(answer, n=0):
    """What a form of the page says it showed: that of the text, or of the other names."""
    return re.findall(r'name="shown" value="([^"]*)"', answer.content.decode())[n]


def save(api, text, **fields):
    return post(api, EDIT, {"shown": shown_in(api.get(EDIT)), "text": text, **fields})


def set_aliases(api, text, **fields):
    shown = shown_in(api.get(EDIT), 1)
    return post(api, "/app/models/little/aliases", {"shown": shown, "aliases": text, **fields})


def test_the_page_shows_the_configuration_and_what_it_may_hold(as_alice, little):
    answer = as_alice.get(EDIT)

    assert typed(answer).strip() == as_yaml(of_row(little)).strip()
    found = text_of(answer)
    assert "max_model_len Context length in tokens (integer)" in found
    assert "Source hf:o/x Backend vllm-cpu" in found
    assert "Its backend vllm-cpu is not installed" in found


def test_saving_changes_row_file_and_trail(as_alice, little, home):
    text = as_yaml(of_row(little)).replace("A small one", "Another").replace("\n", "\r\n")

    answer = save(as_alice, text)

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
    answer = save(as_alice, text)

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

    answer = save(as_alice, "name: little\n")

    assert answer.status_code == 422
    assert "was changed by hand" in text_of(answer)
    assert "Read files again" in text_of(answer)
    assert post(as_alice, "/app/models/read-files").status_code == 302
    assert Model.objects.get().description == "By hand"
    assert "1 configuration changed." in text_of(as_alice.get(EDIT))


def test_a_faulty_file_changes_nothing_and_is_named(as_alice, little, home):
    file_of(home).write_text("name: little\nsurprise: 1\n")

    post(as_alice, "/app/models/read-files")

    assert "little, line 2: surprise" in text_of(as_alice.get("/app/models"))


def test_aliases_are_set_one_a_line(as_alice, little, home):
    assert set_aliases(as_alice, "tiny\r\nsmall, short").status_code == 302
    assert set(ModelAlias.objects.values_list("name", flat=True)) == {"tiny", "small", "short"}
    assert "short\nsmall\ntiny" in as_alice.get(EDIT).content.decode()

    make(home, "big")
    answer = set_aliases(as_alice, "tiny\nbig")
    assert answer.status_code == 422
    assert "aliases: big is a model already" in text_of(answer).lower()
    assert re.search(r'id="aliases"[^>]*aria-invalid="true"', answer.content.decode())
    assert ">tiny\nbig</textarea>" in answer.content.decode()
    assert ModelAlias.objects.count() == 3

    assert set_aliases(as_alice, "").status_code == 302
    assert not ModelAlias.objects.exists()


def test_of_two_who_save_the_same_text_the_second_is_told_and_keeps_what_was_typed(
    as_alice, little, home
):
    text, shown = as_yaml(of_row(little)), shown_in(as_alice.get(EDIT))
    first = text.replace("A small one", "The first")
    assert save(as_alice, first, shown=shown).status_code == 302
    n_records = AuditRecord.objects.count()

    second = text.replace("replicas: 1", "replicas: 2")
    answer = save(as_alice, second, shown=shown)

    assert answer.status_code == 422
    assert Model.objects.get().description == on_disk(home)["description"] == "The first"
    assert AuditRecord.objects.count() == n_records
    assert typed(answer) == second
    said = text_of(answer)
    assert "Somebody else changed this meanwhile, so nothing was saved." in said
    assert "Read files again" not in said
    there = re.search(r'<code id="text-now">(.*?)</code>', answer.content.decode(), re.DOTALL)
    assert html.unescape(there[1]).strip() == first.strip()

    again = save(as_alice, second, shown=shown_in(answer))  # having seen it
    assert again.status_code == 302
    assert Model.objects.get().replicas == 2


def test_a_change_by_the_api_or_of_a_switch_is_one_too(as_alice, little):
    text, shown = as_yaml(of_row(little)), shown_in(as_alice.get(EDIT))
    assert post(as_alice, "/app/models/little/disable").status_code == 302

    assert save(as_alice, text, shown=shown).status_code == 422
    assert not Model.objects.get().enabled


def test_a_mistake_does_not_renew_what_the_page_showed(as_alice, little):
    shown = shown_in(as_alice.get(EDIT))
    Model.objects.update(description="Another")
    answer = save(as_alice, "name: [", shown=shown)
    assert shown_in(answer) == shown
    assert shown_in(answer, 1) == shown_in(as_alice.get(EDIT), 1)


@pytest.mark.parametrize("shown", ["", "x", EVIL])
def test_a_page_that_does_not_say_what_it_showed_saves_nothing(as_alice, little, shown):
    answer = save(as_alice, as_yaml(of_row(little)), shown=shown)
    assert answer.status_code == 422
    assert EVIL not in answer.content.decode()


def test_of_two_who_set_other_names_the_second_is_told(as_alice, little):
    shown = shown_in(as_alice.get(EDIT), 1)
    assert set_aliases(as_alice, "tiny", shown=shown).status_code == 302

    answer = set_aliases(as_alice, "small", shown=shown)

    assert answer.status_code == 422
    assert ">small</textarea>" in answer.content.decode()
    assert re.search(r'<code id="aliases-now">tiny</code>', answer.content.decode())
    assert [each.name for each in ModelAlias.objects.all()] == ["tiny"]
    assert set_aliases(as_alice, "small\ntiny", shown=shown_in(answer, 1)).status_code == 302


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
