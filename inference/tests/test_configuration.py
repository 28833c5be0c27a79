"""A model's configuration: its schema, its file beside its row, and changing it over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from accounts.audit import CLI
from accounts.models import AuditRecord
from core.errors import GatehouseError
from inference import configuration_files, configuring, model_configuration
from inference.installing import InstallError
from inference.model_configuration import ConfigurationFaultError, as_yaml, of_row, read
from inference.model_folders import CONFIGURATION
from inference.models import Engine, EngineState, Model, ModelAlias
from inference.registering import adopt

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


def make(home, name="little", **fields):
    """A model with a folder of its own, in step with its file."""
    folder = home / name.replace("/", "--")
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    defaults = {"source": "hf:o/x", "backend": "vllm-cpu", "directory": str(folder)}
    row = Model.objects.create(name=name, **{**defaults, **fields})
    configuration_files.keep(name)
    row.refresh_from_db()
    return row


def file_of(home, name="little"):
    return home / name / CONFIGURATION


def yaml_to(api, path, text):
    return api.client.generic(
        "POST", path, data=text, content_type="application/yaml", headers=api.headers
    )


def on_disk(home, name="little"):
    return model_configuration.as_data(read(file_of(home, name).read_text()))


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
        ("name: a\noptions:", "line 2: options: "),
        ("- a", "line 1: wants a mapping"),
        ("", "line 1: wants a mapping"),
        ("a: &x 1\nb: *x", "aliases (*name) are not taken"),
        ("{", "line 1"),
    ],
)  # fmt: skip
def test_r10_a_faulty_configuration_names_line_and_key(text, said, monkeypatch):
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


# --- switched off, pinned, and what becomes of the engine -------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_r15_a_model_is_disabled_and_enabled(as_alice, home):
    """PUT /models/toggle-state/:name/:action."""
    row = make(home)
    Engine.objects.create(model=row, state=EngineState.READY)

    answer = as_alice.put("/models/toggle-state/little/disable")

    assert answer.json()["success"] is True
    assert "its engine stops once its callers are served" in answer.json()["message"]
    row.refresh_from_db()
    assert (row.enabled, row.unload_asked_at is None) == (False, False)
    assert on_disk(home)["enabled"] is False
    refused = as_alice.post(
        "/v1/chat/completions", {"model": "little", "messages": [{"role": "user", "content": "x"}]}
    )
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "model_disabled")
    assert as_alice.get("/v1/models").json()["data"] == []
    (listed,) = as_alice.get("/api/models/capabilities").json()["data"]
    assert (listed["id"], listed["disabled"]) == ("little", True)

    assert as_alice.put("/models/toggle-state/little/enable").status_code == 200
    row.refresh_from_db()
    assert row.enabled


@pytest.mark.django_db(transaction=True)
def test_r15_a_model_is_pinned_and_unpinned(as_alice, home):
    """PUT /models/toggle-pinned/:name/:action."""
    make(home, "owner/model")
    assert as_alice.put("/models/toggle-pinned/owner/model/pin").json()["success"] is True
    assert Model.objects.get().pinned
    (listed,) = as_alice.get("/api/models/capabilities").json()["data"]
    assert listed["pinned"] is True
    assert as_alice.put("/models/toggle-pinned/owner%2Fmodel/unpin").status_code == 200
    assert not Model.objects.get().pinned


@pytest.mark.parametrize(
    "path", ["/models/toggle-state/little/explode", "/models/toggle-pinned/little/enable"]
)
def test_r15_an_unknown_action_is_400(as_alice, home, path):
    make(home)
    assert as_alice.put(path).status_code == 400


@pytest.mark.parametrize(
    ("given", "state", "outcome"),
    [
        ({"options": {"max_model_len": 256}}, "ready", ("restarting", True, True)),
        ({"options": {"max_model_len": 256}}, "starting", ("restarting", True, True)),
        ({"options": {"max_model_len": 256}}, "failed", ("restarting", False, True)),
        ({"options": {"max_model_len": 256}}, "stopped", ("next load", False, False)),
        ({"description": "x"}, "ready", ("unchanged", False, False)),
        ({"pinned": True, "idle_timeout": 60}, "ready", ("unchanged", False, False)),
        ({"enabled": False, "options": {"max_model_len": 1}}, "ready", ("unloading", True, False)),
        ({"enabled": False}, "stopped", ("unchanged", False, False)),
    ],
)
def test_changed_options_start_a_running_engine_anew(as_alice, home, given, state, outcome):
    row = make(home)
    Engine.objects.create(model=row, state=state)

    answer = as_alice("PATCH", "/api/models/config-json/little", given)

    row.refresh_from_db()
    unloads, loads = row.unload_asked_at is not None, row.wanted_at is not None
    assert (answer.json()["engine"], unloads, loads) == outcome


def test_what_changes_nothing_is_not_recorded(as_alice, home):
    make(home)
    assert as_alice("PATCH", "/api/models/config-json/little", {"pinned": False}).status_code == 200
    assert not AuditRecord.objects.filter(action="model_changed").exists()


# --- the file beside the row -----------------------------------------------------------------------


def test_a_reload_takes_over_what_was_edited(as_alice, home):
    """POST /models/reload."""
    row = make(home)
    edited = file_of(home).read_text().replace("pinned: false", "pinned: true # mine")
    file_of(home).write_text(edited)

    answer = as_alice.post("/models/reload")

    assert answer.json() == {"success": True, "message": "1 changed", "changed": ["little"]}
    row.refresh_from_db()
    assert row.pinned
    assert configuration_files.standing(row) == "agrees"
    assert AuditRecord.objects.get(action="model_changed").after == {"pinned": True}
    assert as_alice.post("/models/reload").json()["changed"] == []


def test_a_faulty_file_is_named_and_nothing_is_changed(as_alice, home):
    """POST /models/reload with faults."""
    make(home, "good")
    make(home, "bad")
    make(home, "worse")
    for name, line in (
        ("good", "pinned: true"),
        ("bad", "replicas: 99"),
        ("worse", "source: hf:x/y"),
    ):
        text = file_of(home, name).read_text()
        kept = [each for each in text.splitlines() if not each.startswith(line.partition(":")[0])]
        file_of(home, name).write_text("\n".join([*kept, line]))

    answer = as_alice.post("/models/reload")

    assert answer.status_code == 400
    faults = {fault["model"]: fault for fault in answer.json()["faults"]}
    assert sorted(faults) == ["bad", "worse"]
    assert faults["bad"]["line"] == 14
    assert "replicas" in faults["bad"]["message"]
    assert "source" in faults["worse"]["message"]
    assert str(home) not in answer.content.decode()
    assert not Model.objects.filter(pinned=True).exists()


def test_files_are_judged_together(as_alice, home):
    for name in ("a", "b"):
        make(home, name)
        text = file_of(home, name).read_text()
        file_of(home, name).write_text(text.replace("aliases: []", "aliases: [both]"))

    answer = as_alice.post("/models/reload")

    assert answer.status_code == 400
    assert "both is an alias of a already" in answer.json()["error"]["message"]


def test_an_alias_may_move_from_one_file_to_another(as_alice, home):
    make(home, "a")
    make(home, "b")
    as_alice("PATCH", "/api/models/config-json/a", {"aliases": ["x"]})
    for name, old, new in (("a", "- x", ""), ("b", "aliases: []", "aliases: [x]")):
        text = file_of(home, name).read_text()
        file_of(home, name).write_text(
            text.replace(old, new).replace("aliases:\n", "aliases: []\n")
        )

    assert as_alice.post("/models/reload").json()["changed"] == ["a", "b"]
    assert ModelAlias.objects.get().model_id == "b"


def test_an_edit_over_one_by_hand_is_409(as_alice, home):
    make(home)
    file_of(home).write_text(file_of(home).read_text() + "# mine\n")

    answer = as_alice.put("/models/toggle-pinned/little/pin")

    assert answer.status_code == 409
    assert "POST /models/reload" in answer.json()["error"]["message"]
    assert file_of(home).read_text().endswith("# mine\n")


def test_a_crash_before_the_file_was_written_loses_nothing(as_alice, home, monkeypatch):
    """Killed between the commit and the file: the row counts, and the file follows."""
    row = make(home)
    monkeypatch.setattr(configuration_files, "_write", lambda row: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        configuring.change(
            "little", lambda before: before.model_copy(update={"pinned": True}), by=CLI
        )
    monkeypatch.undo()
    row.refresh_from_db()
    assert (row.pinned, configuration_files.standing(row)) == (True, "behind")

    assert as_alice.post("/models/reload").json()["changed"] == []

    assert on_disk(home)["pinned"] is True


def test_a_crash_after_the_file_was_written_is_no_edit_by_hand(home, db, monkeypatch):
    row = make(home)
    monkeypatch.setattr(configuration_files, "_note", lambda row: None)
    configuring.change("little", lambda before: before.model_copy(update={"pinned": True}), by=CLI)

    row.refresh_from_db()
    assert configuration_files.standing(row) == "agrees"
    monkeypatch.undo()
    configuring.change("little", lambda before: before.model_copy(update={"pinned": False}), by=CLI)
    assert on_disk(home)["pinned"] is False


def test_a_file_that_went_comes_back(as_alice, home):
    make(home)
    file_of(home).unlink()
    assert as_alice.post("/models/reload").status_code == 200
    assert file_of(home).exists()


def test_a_link_is_no_file_of_ours(as_alice, home, tmp_path):
    make(home)
    secret = tmp_path / "secret"
    secret.write_text("name: little\npinned: true\n")
    file_of(home).unlink()
    file_of(home).symlink_to(secret)

    answer = as_alice.post("/models/reload")

    assert answer.status_code == 400
    assert "no plain text file" in answer.json()["faults"][0]["message"]


def test_a_disk_that_takes_nothing_leaves_the_row(as_alice, home, monkeypatch, caplog):
    row = make(home)

    def full(_row):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(configuration_files, "_write", full)
    assert as_alice.put("/models/toggle-pinned/little/pin").status_code == 200
    row.refresh_from_db()
    assert row.pinned
    assert "was not written" in caplog.text


def test_the_size_on_disk_is_known_after_a_reload(as_alice, home):
    row = make(home)
    (home / "little" / "weights").write_bytes(b"x" * 5000)
    assert as_alice.post("/models/reload").status_code == 200
    row.refresh_from_db()
    assert 5000 < row.size_bytes < 8000


def test_a_reload_asks_the_database_as_often_for_many_models_as_for_few(
    as_alice, home, django_assert_num_queries
):
    counts = []
    for number in (1, 5):
        for i in range(number):
            make(home, f"m{number}-{i}")
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert as_alice.post("/models/reload").status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_a_change_asks_the_database_as_often_whatever_there_is(as_alice, home):
    counts = []
    for number in (1, 5):
        for i in range(number):
            make(home, f"m{number}-{i}")
        with CaptureQueriesContext(connection) as asked:
            path = f"/api/models/config-json/m{number}-0"
            assert (
                as_alice("PATCH", path, {"aliases": [f"x{number}", f"y{number}"]}).status_code
                == 200
            )
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_the_default_of_a_model_edited_by_hand_is_not_taken(as_alice, home):
    make(home, "first", is_default=True)
    make(home, "second")
    file_of(home, "first").write_text(file_of(home, "first").read_text() + "# mine\n")

    answer = as_alice("PATCH", "/api/models/config-json/second", {"default": True})

    assert answer.status_code == 409
    assert Model.objects.get(is_default=True).name == "first"


# --- several at once -------------------------------------------------------------------------------


def together(n, work):
    barrier = Barrier(n)

    def one(i):
        barrier.wait(30)
        try:
            return work(i)
        except GatehouseError as exc:
            return exc
        finally:
            connections.close_all()

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(one, range(n)))


@pytest.mark.django_db(transaction=True)
def test_r19_of_several_that_want_one_alias_one_gets_it(home):
    """On both databases: an alias is one model's, and no model's name."""
    for i in range(8):
        make(home, f"m{i}")

    def take(i):
        return configuring.change(
            f"m{i}", lambda before: before.model_copy(update={"aliases": ["x"]}), by=CLI
        )

    outcomes = together(8, take)

    assert len([each for each in outcomes if not isinstance(each, GatehouseError)]) == 1
    owner = ModelAlias.objects.get().model_id
    assert [on_disk(home, f"m{i}")["aliases"] for i in range(8)].count(["x"]) == 1
    assert on_disk(home, owner)["aliases"] == ["x"]


@pytest.mark.django_db(transaction=True)
def test_r19_an_alias_and_a_new_model_of_its_name_do_not_both_come(home):
    for i in range(6):
        make(home, f"m{i}")
        (home / f"new{i}").mkdir()
        (home / f"new{i}" / "weights").write_bytes(b"x")

    def race(i):
        if i % 2:
            update = {"aliases": [f"new{i // 2}"]}
            return configuring.change(
                f"m{i // 2}", lambda before: before.model_copy(update=update), by=CLI
            )
        try:
            adopt(model_configuration.checked({"name": f"new{i // 2}"}), lambda *_a, **_k: None)
        except InstallError as exc:
            return exc

    together(12, race)

    names = set(Model.objects.values_list("name", flat=True))
    aliases = set(ModelAlias.objects.values_list("name", flat=True))
    assert not names & aliases
    assert len(names | aliases) == 12


@pytest.mark.django_db(transaction=True)
def test_r19_of_several_defaults_one_is_left_and_all_files_say_so(home):
    for i in range(8):
        make(home, f"m{i}")

    together(
        8,
        lambda i: configuring.change(
            f"m{i}", lambda before: before.model_copy(update={"default": True}), by=CLI
        ),
    )

    chosen = Model.objects.get(is_default=True).name
    said = [f"m{i}" for i in range(8) if on_disk(home, f"m{i}")["default"]]
    assert said == [chosen]
    rows = Model.objects.prefetch_related("aliases")
    assert {configuration_files.standing(row) for row in rows} == {"agrees"}
