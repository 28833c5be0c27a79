"""Operations over the API: what is listed, cancelled, dismissed, and what clients of LocalAI read."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from accounts.runtime import env
from core import call_times
from core.errors import ConflictError, InvalidRequestError
from inference import operations
from inference.api.lane_routes import lane_routes
from inference.model_folders import MANIFEST
from inference.models import Model, Operation, OperationState, RequestKey
from inference.operation_work import Progress
from inference.operations import Action, Kind, Wish

ROW = {
    "id", "name", "fullName", "jobID", "progress", "taskType", "isDeletion", "isBackend",
    "isQueued", "isCancelled", "cancellable", "message", "askedBy",
}  # fmt: skip
OP_STATUS = {
    "deletion", "file_name", "error", "processed", "message", "progress", "file_size",
    "downloaded_size", "gallery_element_name", "cancelled", "cancellable",
}  # fmt: skip
INSTALL = Wish(Kind.MODEL, Action.INSTALL, "tiny", "gallery@tiny", "alice@example.org")


def make(target, state=OperationState.RUNNING, **fields):
    fields = {"kind": Kind.MODEL, "asked_for": f"gallery@{target}", **fields}
    return Operation.objects.create(target=target, state=state, **fields)


def test_operations_under_way_are_listed_by_progress_then_id(as_alice):
    """GET /api/operations: in the order of LocalAI."""
    make("b", progress=40)
    make("a", progress=40)
    make("first", OperationState.QUEUED)

    listed = as_alice.get("/api/operations").json()["operations"]

    assert [row["id"] for row in listed] == ["gallery@first", "gallery@a", "gallery@b"]
    assert all(set(row) == ROW for row in listed)
    assert [row["isQueued"] for row in listed] == [True, False, False]
    assert (listed[1]["taskType"], listed[1]["cancellable"]) == ("installation", True)
    assert (listed[1]["name"], listed[1]["isBackend"]) == ("a", False)


def test_operations_that_ended_well_vanish_and_failed_ones_stay_until_dismissed(as_alice):
    make("done", OperationState.DONE)
    make("cancelled", OperationState.CANCELLED)
    failed = make("failed", OperationState.FAILED, message="no network")

    (row,) = as_alice.get("/api/operations").json()["operations"]
    assert (row["name"], row["error"]) == ("failed", "no network")

    answer = as_alice.post(f"/api/operations/{failed.pk}/dismiss")
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert as_alice.get("/api/operations").json() == {"operations": []}


def test_dismissing_does_nothing_to_what_runs_and_is_always_200(as_alice):
    """POST /api/operations/:jobID/dismiss: always 200."""
    running = make("running")

    for known in (running.pk, uuid4(), "nonsense"):
        assert as_alice.post(f"/api/operations/{known}/dismiss").status_code == 200

    assert len(as_alice.get("/api/operations").json()["operations"]) == 1


def test_bytes_phase_and_time_to_go_are_shown_where_they_are_known(as_alice):
    began = timezone.now() - timedelta(seconds=10)
    make("a", phase="downloading", current_bytes=250, total_bytes=1000, started_at=began)

    (row,) = as_alice.get("/api/operations").json()["operations"]

    assert (row["phase"], row["currentBytes"], row["totalBytes"]) == ("downloading", 250, 1000)
    assert row["eta"] == pytest.approx(30, abs=2)


def test_the_list_costs_the_same_few_queries_however_long_it_is(
    as_alice, django_assert_num_queries
):
    make("a")
    with django_assert_num_queries(3):
        as_alice.get("/api/operations")
    for i in range(20):
        make(f"more-{i}")
    with django_assert_num_queries(3):
        as_alice.get("/api/operations")


def test_the_list_is_not_counted_among_the_calls(as_alice):
    def counted():
        samples = [s for family in call_times.API_CALL.collect() for s in family.samples]
        return {s.labels.get("path") for s in samples}

    as_alice.get("/api/operations")
    as_alice.get("/models/jobs")

    assert "/api/operations" not in counted()
    assert "/models/jobs" in counted()


def test_a_waiting_operation_is_cancelled_at_once(as_alice):
    """POST /api/operations/:jobID/cancel: 200."""
    waiting = operations.enqueue(INSTALL)

    answer = as_alice.post(f"/api/operations/{waiting.pk}/cancel")

    assert answer.status_code == 200
    assert answer.json() == {"success": True, "message": "Operation cancelled"}
    waiting.refresh_from_db()
    assert waiting.state == OperationState.CANCELLED
    assert as_alice.get("/api/operations").json() == {"operations": []}


def test_cancelling_twice_or_something_that_ended_is_a_400(as_alice):
    running, done = make("running"), make("done", OperationState.DONE)
    unknown = uuid4()

    assert as_alice.post(f"/api/operations/{running.pk}/cancel").status_code == 200
    again = as_alice.post(f"/api/operations/{running.pk}/cancel")
    assert (again.status_code, again.json()["error"]) == (400, operations.ALREADY_CANCELLED)
    for over in (done.pk, unknown, "nonsense"):
        answer = as_alice.post(f"/api/operations/{over}/cancel")
        assert answer.status_code == 400
        expected = f'operation "{over}" not found or already completed'
        assert answer.json()["error"] == expected


def test_a_deletion_that_has_begun_is_not_cancelled(as_alice):
    deletion = make("a", action=Action.DELETE)

    answer = as_alice.post(f"/api/operations/{deletion.pk}/cancel")

    assert answer.status_code == 400
    (row,) = as_alice.get("/api/operations").json()["operations"]
    assert (row["taskType"], row["isDeletion"], row["cancellable"]) == ("deletion", True, False)


def test_r27_a_job_that_nobody_knows_counts_as_queued(as_alice):
    for job in (uuid4(), "nonsense", make("waiting", OperationState.QUEUED).pk):
        answer = as_alice.get(f"/api/models/job/{job}")
        assert answer.status_code == 200
        assert answer.json() == {
            "progress": 0,
            "message": "Operation queued",
            "galleryElementName": "",
            "processed": False,
            "deletion": False,
            "queued": True,
        }


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (OperationState.RUNNING, {"processed": False, "message": "at it"}),
        (OperationState.FAILED, {"processed": True, "message": "at it", "error": "at it"}),
        (OperationState.CANCELLED, {"processed": True, "message": "at it"}),
        (OperationState.DONE, {"processed": True, "message": "completed", "completed": True}),
    ],
)
def test_a_job_as_the_react_client_polls_it(as_alice, state, expected):
    """GET /api/models/job/:uid: the shape that is polled."""
    progress = 100 if state == OperationState.DONE else 40
    job = make("a", state, progress=progress, message="at it")

    body = as_alice.get(f"/api/models/job/{job.pk}").json()

    common = {"progress": float(progress), "galleryElementName": "gallery@a"}
    assert body == {**common, "deletion": False, "queued": False, **expected}


def test_jobs_in_localais_older_shape(as_alice):
    """GET /models/jobs and GET /models/jobs/:uuid: OpStatus."""
    job = make("a", current_bytes=1024, total_bytes=1288490188, progress=3)
    make("vllm-cpu", kind=Kind.BACKEND)

    listed = as_alice.get("/models/jobs").json()
    one = as_alice.get(f"/models/jobs/{job.pk}").json()

    assert list(listed) == [str(job.pk)]
    assert set(listed[str(job.pk)]) == OP_STATUS | {"current_bytes", "total_bytes"}
    assert one == {**listed[str(job.pk)], "log_tail": []}
    assert (one["file_size"], one["downloaded_size"]) == ("1.2 GiB", "1.0 KiB")
    assert (one["progress"], one["error"]) == (3.0, None)


def test_r27_an_unknown_job_is_a_404_in_the_first_envelope(as_alice):
    for job in (uuid4(), "nonsense"):
        answer = as_alice.get(f"/models/jobs/{job}")
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == "could not find any status for ID"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/operations"),
        ("GET", "/api/models/job/x"),
        ("GET", "/models/jobs"),
        ("GET", "/models/jobs/x"),
        ("POST", "/api/operations/x/cancel"),
        ("POST", "/api/operations/x/dismiss"),
    ],
)
def test_only_admins_see_and_end_operations(as_bob, anonymous, method, path):
    assert as_bob(method, path).status_code == 403
    assert anonymous(method, path).status_code == 401


def test_r36_the_lane_leaves_these_addresses_to_django():
    routes = lane_routes()

    assert routes.match("/models/jobs") is None
    assert routes.match("/models/jobs/x") is None
    assert routes.match("/models/some/name")[1] == {"model": "some/name"}
    assert routes.match("/v1/models/jobs")[1] == {"model": "jobs"}


@pytest.mark.django_db
def test_two_wishes_for_the_same_thing_are_one_operation():
    first = operations.enqueue(INSTALL)

    assert operations.enqueue(INSTALL).pk == first.pk
    deletion = Wish(Kind.MODEL, Action.DELETE, "tiny")
    assert operations.enqueue(deletion).pk != first.pk
    Operation.objects.filter(pk=first.pk).update(state=OperationState.DONE)
    assert operations.enqueue(INSTALL).pk != first.pk


@pytest.mark.django_db
def test_another_model_under_the_name_of_one_that_is_being_installed_is_refused():
    """Whoever asked for it would have been given somebody else's."""
    mine = Wish(Kind.MODEL, Action.INSTALL, "m", "a@m", "alice", {"overrides": {}})
    first = operations.enqueue(mine)
    for other in (
        Wish(Kind.MODEL, Action.INSTALL, "m", "b@m", "bob", {"overrides": {}}),
        Wish(Kind.MODEL, Action.INSTALL, "m", "a@m", "bob", {"overrides": {"convert": "gguf"}}),
    ):
        with pytest.raises(ConflictError):
            operations.enqueue(other)
    same = Wish(Kind.MODEL, Action.INSTALL, "m", "m", "bob", {"overrides": {}})
    assert operations.enqueue(same).pk == first.pk


@pytest.mark.django_db(transaction=True)
def test_two_admins_at_the_same_moment_start_one_operation():
    def ask(_):
        try:
            return operations.enqueue(INSTALL).pk
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, range(16)))

    assert len(found) == 1
    assert Operation.objects.count() == 1


@pytest.mark.django_db
def test_r35_a_repeat_with_the_same_key_starts_nothing_even_after_the_end():
    first = operations.enqueue_once(INSTALL, key="k1")
    Operation.objects.filter(pk=first.pk).update(state=OperationState.DONE)

    assert operations.enqueue_once(INSTALL, key="k1").pk == first.pk
    assert operations.enqueue_once(INSTALL, key="k2").pk != first.pk
    with pytest.raises(ConflictError):
        operations.enqueue_once(
            Wish(Kind.MODEL, Action.INSTALL, "x", "x", INSTALL.asked_by), key="k1"
        )
    with pytest.raises(InvalidRequestError):
        operations.enqueue_once(INSTALL, key="k" * 256)


@pytest.mark.django_db
def test_r35_a_key_is_forgotten_after_a_day_and_belongs_to_whoever_sent_it():
    first = operations.enqueue_once(INSTALL, key="k1")
    Operation.objects.filter(pk=first.pk).update(state=OperationState.DONE)

    other = Wish(Kind.MODEL, Action.INSTALL, "tiny", "tiny", "carol@example.org")
    theirs = operations.enqueue_once(other, key="k1")
    assert theirs.pk != first.pk
    Operation.objects.filter(pk=theirs.pk).update(state=OperationState.DONE)

    RequestKey.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert operations.enqueue_once(INSTALL, key="k1").pk not in {first.pk, theirs.pk}


@pytest.mark.django_db
def test_r16_an_interrupted_operation_goes_on_under_its_id_and_keeps_its_files(settings, tmp_path):
    settings.GATEHOUSE = env().model_copy(update={"models_path": tmp_path})
    running, doomed = make("a"), make("b", cancel_asked=True)
    for name in ("a", "b", ".gone-123", "somebody-elses"):
        (tmp_path / ".staging" / name).mkdir(parents=True)

    operations.resume_interrupted()

    running.refresh_from_db()
    doomed.refresh_from_db()
    assert (running.state, doomed.state) == (OperationState.QUEUED, OperationState.CANCELLED)
    left = sorted(folder.name for folder in (tmp_path / ".staging").iterdir())
    assert left == ["a", "somebody-elses"]


@pytest.mark.django_db
def test_r16_what_was_put_in_place_without_a_row_goes_after_a_cancel(settings, tmp_path):
    settings.GATEHOUSE = env().model_copy(update={"models_path": tmp_path})
    for name in ("half", "whole", "foreign"):
        (tmp_path / name).mkdir()
    for name in ("half", "whole"):
        (tmp_path / name / MANIFEST).touch()
    Model.objects.create(name="whole", source="s", backend="b", directory=str(tmp_path / "whole"))

    for name in ("half", "whole", "foreign"):
        operations.clean_up(make(name, OperationState.CANCELLED))

    assert sorted(f.name for f in tmp_path.iterdir()) == ["foreign", "whole"]


@pytest.mark.django_db
def test_progress_is_kept_in_the_row_with_its_last_words():
    row = make("a")
    report = Progress(row)

    report(20, "downloading one", phase="downloading", done=5, total=10)
    report(30, "downloading two", phase="downloading", done=7, total=10)
    report.keep_tail()

    row.refresh_from_db()
    assert (row.progress, row.phase, row.current_bytes, row.total_bytes) == (
        20,
        "downloading",
        5,
        10,
    )
    assert [line.partition(" ")[2] for line in row.log_tail.splitlines()] == [
        "downloading one",
        "downloading two",
    ]


@pytest.mark.django_db
def test_old_operations_are_swept_but_not_a_failure_that_nobody_dismissed():
    old = timezone.now() - timedelta(days=31)
    make("a", OperationState.DONE, finished_at=old)
    make("b", OperationState.FAILED, finished_at=old, dismissed=True)
    kept = make("c", OperationState.FAILED, finished_at=old)
    new = make("d", OperationState.DONE, finished_at=timezone.now())

    operations.sweep()

    assert set(Operation.objects.values_list("pk", flat=True)) == {kept.pk, new.pk}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_migration_goes_back_where_a_deletion_waits_beside_an_installation():
    operations.enqueue(INSTALL)
    operations.enqueue(Wish(Kind.MODEL, Action.DELETE, "tiny"))
    try:
        MigrationExecutor(connection).migrate([("inference", "0001_initial")])
        with connection.cursor() as cursor:
            cursor.execute("SELECT state FROM inference_operation ORDER BY state")
            assert [state for (state,) in cursor.fetchall()] == ["cancelled", "queued"]
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(
            [node for node in executor.loader.graph.leaf_nodes() if node[0] == "inference"]
        )
    assert UUID(str(Operation.objects.first().pk))
