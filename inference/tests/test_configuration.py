"""A model's configuration: its schema, and changing it over HTTP."""

import pytest

from accounts.models import AuditRecord
from inference import model_configuration
from inference.model_configuration import ConfigurationFaultError, as_yaml, of_row, read
from inference.models import Model, ModelAlias
from inference.tests.configured import file_of, make, on_disk, yaml_to

KEYS = [
    "name", "description", "aliases", "source", "checksum", "backend", "options", "capabilities",
    "replicas", "pinned", "default", "enabled", "idle_timeout",
]  # fmt: skip
WHOLE = """
description: said by hand
aliases: [gpt-4o, chat/best]
backend: vllm
options: {max_model_len: 4096}
capabilities: [completions, chat]
replicas: 2
pinned: true
default: true
idle_timeout: 15m
"""


# --- the schema ------------------------------------------------------------------------------------


def test_r19_what_is_written_is_read_back(db, home):
    row = make(home, description="a: [b\n#c é", options={"dtype": "2026-01-01"}, replicas=3)
    written = of_row(row)

    assert read(as_yaml(written)) == written
    assert list(on_disk(home)) == KEYS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nsize: 1", "line 2: size: is not a key of a configuration"),
        ("name: a\nname: b", "line 2: the key name is there twice"),
        ("name: ../a", "line 1: name: wants letters"),
        ("name: a\n\nreplicas: 0", "line 3: replicas: "),
        ("name: a\nreplicas: '1'", "line 2: replicas: "),
        ("name: a\nreplicas: 65", "line 2: replicas: "),
        ("name: a\npinned: 1", "line 2: pinned: "),
        ("name: a\nidle_timeout: soon", "line 2: idle_timeout: wants seconds"),
        ("name: a\nidle_timeout: 0", "line 2: idle_timeout: "),
        ("name: a\naliases: [x, x]", "line 2: aliases: one of them is there twice"),
        ("name: a\naliases: ['a b']", "line 2: aliases: an alias has letters"),
        ("name: a\ncapabilities: [telepathy]", "line 2: capabilities.0: "),
        ("name: a\noptions: {colour: red}", "line 2: options: vllm-cpu has no option colour"),
        ("name: a\noptions: {max_model_len: long}", "line 2: options: max_model_len wants a integer"),
        ("name: a\noptions: {max_model_len: true}", "line 2: options: max_model_len wants a integer"),
        ("name: a\noptions: {max_model_len: 1e400}", "line 2: options"),
        ("name: a\noptions: {max_model_len: .nan}", "line 2: options"),
        ("name: a\noptions: {max_model_len: 99999999999999999999999}", "line 2: options"),
        ("name: a\noptions: {dtype: 'a\\nb'}", None),
        ('name: a\noptions: {dtype: "a\\nb"}', "line 2: options"),
        ("name: a\noptions: {? [a] : 1}", "line 2: a key has to be a word"),
        ("name: a\noptions: {'a b': 1}", "line 2: options: a b wants a short name"),
        ("name: a\noptions: {dtype: [1]}", "line 2: options: dtype wants a short name"),
        ("name: a\noptions:", "line 2: options: "),
        ("- a", "line 1: wants a mapping"),
        ("", "line 1: wants a mapping"),
        ("a: &x 1\nb: *x", "aliases (*name) are not taken"),
        ("{", "line 1"),
    ],
)  # fmt: skip
def test_r10_a_faulty_configuration_names_line_and_key(db, text, said, monkeypatch):
    monkeypatch.setattr(model_configuration, "recipe_name", lambda name: f"{name}-cpu")
    if said is None:
        read(text)
        return
    with pytest.raises(ConfigurationFaultError) as fault:
        read(text)
    assert said in str(fault.value)


def test_the_form_knows_the_schema_and_every_option(as_alice, django_assert_num_queries):
    """`/api/models/config-metadata`."""
    body = as_alice.get("/api/models/config-metadata").json()

    assert sorted(body["schema"]["properties"]) == sorted(KEYS)
    assert body["read_only"] == ["name", "source", "checksum"]
    assert body["options"]["vllm-cpu"]["max_model_len"]["type"] == "integer"


# --- reading and changing --------------------------------------------------------------------------


def test_the_configuration_as_json_and_as_yaml(as_alice, home, django_assert_num_queries):
    """GET /api/models/config-json/:name and GET /api/models/edit/:name."""
    make(home, "owner/model", options={"max_model_len": 512})
    for path in ("owner/model", "owner%2Fmodel"):
        found = as_alice.get(f"/api/models/config-json/{path}").json()
        assert (found["name"], found["options"]) == ("owner/model", {"max_model_len": 512})
        edit = as_alice.get(f"/api/models/edit/{path}").json()
        assert edit["name"] == "owner/model"
        assert read(edit["config"]).options == {"max_model_len": 512}


def test_a_model_that_is_not_there_is_404(as_alice, home):
    """GET /api/models/config-json/:name of an unknown name."""
    for call in (
        as_alice.get("/api/models/config-json/none"),
        as_alice.get("/api/models/edit/none"),
        as_alice("PATCH", "/api/models/config-json/none", {"pinned": True}),
        as_alice.post("/api/models/config/none", {}),
        as_alice.get("/api/models/config-json/%00"),
    ):
        assert call.status_code in {400, 404}
    assert as_alice.get("/api/models/config-json/none").json() == {
        "error": "model configuration not found"
    }
    assert as_alice.put("/models/toggle-state/none/enable").status_code == 404


@pytest.mark.parametrize("path", ["/api/models/config/little", "/models/edit/little"])
def test_r19_a_whole_configuration_is_saved_in_row_and_file(as_alice, home, path):
    """POST /api/models/config/:id and POST /models/edit/:name take YAML."""
    make(home, options={"dtype": "float32"}, pinned=True)

    answer = yaml_to(as_alice, path, WHOLE)

    assert answer.status_code == 200, answer.content
    row = Model.objects.get()
    assert (row.description, row.replicas, row.pinned, row.is_default) == (
        "said by hand", 2, True, True,
    )  # fmt: skip
    assert row.options == {"max_model_len": 4096}  # what it leaves out is gone
    assert row.idle_timeout_s == 900
    assert (row.source, row.capabilities) == ("hf:o/x", ["chat", "completions"])
    assert sorted(ModelAlias.objects.values_list("name", flat=True)) == ["chat/best", "gpt-4o"]
    assert on_disk(home) == model_configuration.as_data(of_row(row))
    record = AuditRecord.objects.get(action="model_changed")
    assert (record.subject_name, record.actor_name) == ("little", "alice@example.org")
    assert record.before["options"] == {"dtype": "float32"}
    assert "source" not in record.after


def test_the_same_as_json(as_alice, home):
    """POST /api/models/config/:id → Configuration file saved."""
    make(home)
    answer = as_alice.post("/api/models/config/own@little", {"pinned": True})

    assert answer.json()["message"] == "Configuration file saved"
    assert Model.objects.get().pinned


def test_an_empty_body_sets_nothing_back(as_alice, home):
    row = make(home, options={"max_model_len": 64})

    answer = as_alice.client.generic(
        "POST",
        "/api/models/config/little",
        CONTENT_TYPE="application/json",
        headers=as_alice.headers,
    )

    assert answer.status_code == 400, answer.content
    row.refresh_from_db()
    assert row.options == {"max_model_len": 64}


def test_a_patch_sets_what_it_names(as_alice, home):
    """PATCH of config-json: null is the default, options go one by one."""
    make(home, options={"dtype": "float32", "max_model_len": 512}, replicas=2, description="x")

    answer = as_alice(
        "PATCH",
        "/api/models/config-json/little",
        {"options": {"dtype": None, "max_num_seqs": 8}, "replicas": None},
    )

    assert answer.status_code == 200, answer.content
    row = Model.objects.get()
    assert row.options == {"max_model_len": 512, "max_num_seqs": 8}
    assert (row.replicas, row.description) == (1, "x")


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"source": "hf:o/other"}, "source"),
        ({"checksum": "ab"}, "checksum"),
        ({"name": "other"}, "name"),
        ({"size": 1}, "size"),
        ({"options": {"colour": "red"}}, "options"),
        ({"options": []}, "options"),
        ({"replicas": 1000}, "replicas"),
        ({"aliases": ["little"]}, "aliases"),
        ({"aliases": ["other"]}, "aliases"),
        ({"aliases": ["taken"]}, "aliases"),
        ({"description": "x" * 501}, "description"),
        ({"description": "a\0b"}, "description"),
        ({"default": False}, "default"),
    ],
)
def test_r10_what_cannot_be_is_400_and_changes_nothing(as_alice, home, given, param):
    make(home, is_default=True)
    ModelAlias.objects.create(name="taken", model=make(home, "other"))
    before = file_of(home).read_text()

    answer = as_alice("PATCH", "/api/models/config-json/little", given)

    assert answer.status_code == 400, answer.content
    assert param in answer.json()["error"]
    assert file_of(home).read_text() == before
    assert not AuditRecord.objects.filter(action="model_changed").exists()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_says_what_it_is(as_alice, home, kind):
    make(home)
    answer = as_alice.client.generic("POST", "/models/edit/little", data=WHOLE, content_type=kind)

    assert answer.status_code == 400
    assert "application/yaml" in answer.json()["error"]["message"]


def test_nobody_but_an_admin(as_bob, anonymous, home):
    make(home)
    for method, path in [
        ("GET", "/api/models/config-json/little"),
        ("PATCH", "/api/models/config-json/little"),
        ("GET", "/api/models/edit/little"),
        ("POST", "/models/edit/little"),
        ("POST", "/api/models/config/little"),
        ("POST", "/models/import"),
        ("POST", "/models/import-uri"),
        ("POST", "/models/reload"),
        ("PUT", "/models/toggle-state/little/disable"),
        ("PUT", "/models/toggle-pinned/little/pin"),
        ("GET", "/api/aliases"),
        ("GET", "/api/models/config-metadata"),
    ]:
        assert as_bob(method, path, {}).status_code == 403, path
        assert anonymous(method, path, {}).status_code == 401, path


def test_there_is_one_default_and_it_moves_whole(as_alice, home):
    first, second = make(home, "first", is_default=True), make(home, "second")

    answer = as_alice("PATCH", "/api/models/config-json/second", {"default": True})

    assert answer.json()["default"] is True
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.is_default, second.is_default) == (False, True)
    assert (on_disk(home, "first")["default"], on_disk(home, "second")["default"]) == (False, True)
    changed = AuditRecord.objects.filter(action="model_changed")
    assert {record.subject_name for record in changed} == {"first", "second"}


def test_aliases_are_listed(as_alice, home, django_assert_num_queries):
    """GET /api/aliases."""
    make(home)
    as_alice("PATCH", "/api/models/config-json/little", {"aliases": ["b", "a"]})

    assert as_alice.get("/api/aliases").json() == {
        "aliases": [{"name": "a", "model": "little"}, {"name": "b", "model": "little"}]
    }
    # an alias may go on to another model, and goes with its model
    make(home, "other")
    moved = as_alice("PATCH", "/api/models/config-json/other", {"aliases": ["a"]})
    assert moved.status_code == 400
    as_alice("PATCH", "/api/models/config-json/little", {"aliases": []})
    assert as_alice("PATCH", "/api/models/config-json/other", {"aliases": ["a"]}).status_code == 200
    Model.objects.filter(pk="other").delete()
    assert as_alice.get("/api/aliases").json() == {"aliases": []}
