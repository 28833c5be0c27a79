"""The file beside a model's row: edited by hand, lost in a crash, read again."""

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from accounts.audit import CLI
from accounts.models import AuditRecord
from accounts.runtime import generations
from core.generations import ENGINES
from inference import configuration_files, configuring
from inference.models import Model, ModelAlias
from inference.tests.configured import file_of, make, on_disk


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


def pin(pinned):
    return configuring.change(
        "little", lambda before: before.model_copy(update={"pinned": pinned}), by=CLI
    )


@pytest.mark.parametrize("step", ["_write", "_note", "_put"])
def test_a_crash_before_the_file_was_written_loses_nothing(as_alice, home, monkeypatch, step):
    """Killed between the commit and the file: the row counts, and the file follows."""
    row = make(home)
    monkeypatch.setattr(configuration_files, step, lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pin(pinned=True)
    monkeypatch.undo()
    row.refresh_from_db()
    assert (row.pinned, configuration_files.standing(row)) == (True, "behind")

    assert as_alice.post("/models/reload").json()["changed"] == []

    assert on_disk(home)["pinned"] is True


def test_a_crash_in_the_middle_is_no_edit_by_hand(home, db, monkeypatch):
    """Killed once it was noted, and then another change: the file is still one of ours."""
    row = make(home)
    with monkeypatch.context() as patch:
        patch.setattr(configuration_files, "_put", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pin(pinned=True)
    pin(pinned=False)
    pin(pinned=True)

    row.refresh_from_db()
    assert configuration_files.standing(row) == "agrees"
    assert on_disk(home)["pinned"] is True


def test_a_file_that_says_the_same_is_ours_though_nobody_noted_it(home, db):
    make(home)
    Model.objects.update(file_digest="")

    pin(pinned=True)

    assert on_disk(home)["pinned"] is True


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

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(configuration_files, "_put", full)
    assert as_alice.put("/models/toggle-pinned/little/pin").status_code == 200
    row.refresh_from_db()
    assert row.pinned
    assert "was not written" in caplog.text


def test_one_folder_that_takes_nothing_holds_up_no_other(as_alice, home, monkeypatch):
    for name in ("a", "b", "c"):
        make(home, name)
        file_of(home, name).unlink()
    put = configuration_files._put

    def full(place, text):
        if place.parent.name == "a":
            raise PermissionError(13, "Permission denied")
        put(place, text)

    monkeypatch.setattr(configuration_files, "_put", full)

    assert as_alice.post("/models/reload").status_code == 200

    assert [file_of(home, name).exists() for name in ("a", "b", "c")] == [False, True, True]


def test_what_is_committed_is_told_and_answered_though_its_file_waits(as_alice, home, monkeypatch):
    make(home)
    told = generations().read(ENGINES)

    def busy(*_arguments):
        raise OperationalError("database is locked")

    monkeypatch.setattr(configuration_files, "_note", busy)

    answer = as_alice.put("/models/toggle-pinned/little/pin")

    assert answer.status_code == 200
    assert generations().read(ENGINES) > told
    monkeypatch.undo()
    as_alice.post("/models/reload")
    assert on_disk(home)["pinned"] is True


def test_the_size_on_disk_is_known_after_a_reload(as_alice, home):
    row = make(home)
    (home / "little" / "weights").write_bytes(b"x" * 5000)
    assert as_alice.post("/models/reload").status_code == 200
    row.refresh_from_db()
    assert 5000 < row.size_bytes < 8000


def test_files_on_another_machine_are_left_to_it(as_alice, home):
    """Several web machines may share a database and not the models path."""
    row = make(home, size_bytes=77)
    away = home / "little"
    away.rename(home.parent / "elsewhere")

    assert as_alice.put("/models/toggle-pinned/little/pin").status_code == 200
    assert as_alice.post("/models/reload").json()["changed"] == []

    row.refresh_from_db()
    assert (row.pinned, row.size_bytes) == (True, 77)
    (home.parent / "elsewhere").rename(away)
    assert configuration_files.standing(row) == "behind"
    assert as_alice.post("/models/reload").status_code == 200
    assert on_disk(home)["pinned"] is True


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
