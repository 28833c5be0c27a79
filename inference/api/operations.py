"""Operations over HTTP: what the pages poll, and LocalAI's two older ways to ask about a job."""

from typing import Any

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import AccountView
from core.declared import declares
from core.envelopes import Family
from core.errors import NotFoundError
from core.sizes import shown_size
from inference import operations
from inference.api import answers
from inference.models import Operation, OperationState

MAX_JOBS = 200
_OVER = {OperationState.DONE, OperationState.FAILED, OperationState.CANCELLED}
_QUEUED = {
    "progress": 0,
    "message": "Operation queued",
    "galleryElementName": "",
    "processed": False,
    "deletion": False,
    "queued": True,
}


class OperationsView(AccountView):
    """`GET /api/operations`: under way, or failed and not yet dismissed. Polled every second."""

    @declares("What is under way, or failed", answer=answers.Operations)
    def get(self, _request: Request) -> Response:
        return Response({"operations": [_row(each) for each in operations.listed()]})


class CancelView(AccountView):
    """`POST /api/operations/:jobID/cancel`."""

    @declares("Cancel an operation", answer=answers.Success)
    def post(self, _request: Request, job_id: str) -> Response:
        operations.cancel(job_id)
        return Response({"success": True, "message": "Operation cancelled"})


class DismissView(AccountView):
    """`POST /api/operations/:jobID/dismiss`: always 200."""

    @declares("Take a failed operation off the list", answer=answers.Success)
    def post(self, _request: Request, job_id: str) -> Response:
        operations.dismiss(job_id)
        return Response({"success": True, "message": "Operation dismissed"})


class JobView(AccountView):
    """`GET /api/models/job/:uid`: an id that nobody knows counts as queued (R-27)."""

    @declares("How a job stands", answer=answers.Job)
    def get(self, _request: Request, job_id: str) -> Response:
        found = operations.find(job_id)
        if found is None or found.state == OperationState.QUEUED:
            return Response(_QUEUED)
        is_done = found.state == OperationState.DONE
        body: dict[str, Any] = {
            "progress": float(found.progress),
            "message": _message(found),
            "galleryElementName": found.asked_for or found.target,
            "processed": found.state in _OVER,
            "deletion": found.is_deletion,
            "queued": False,
        }
        if found.state == OperationState.FAILED:
            body["error"] = found.message
        if is_done:
            body["completed"] = True
        return Response(body)


class JobsView(AccountView):
    """`GET /models/jobs`: the last operations on models, by id."""

    family: Family = "openai"
    kind = operations.Kind.MODEL

    @declares("The last jobs", answer=dict[str, answers.JobStatus])
    def get(self, _request: Request) -> Response:
        rows = Operation.objects.filter(kind=self.kind).order_by("-created_at")
        return Response({str(row.pk): _status(row) for row in rows[:MAX_JOBS]})


class JobStatusView(AccountView):
    """`GET /models/jobs/:uuid`; 404 where S says 500 (R-27)."""

    family: Family = "openai"

    @declares("One job, with the end of its log", answer=answers.JobDetails, errors=(404,))
    def get(self, _request: Request, job_id: str) -> Response:
        found = operations.find(job_id)
        if found is None:
            raise NotFoundError("could not find any status for ID")
        return Response({**_status(found), "log_tail": found.log_tail.splitlines()})


def _message(operation: Operation) -> str:
    """LocalAI's clients look for the word `completed`."""
    return "completed" if operation.state == OperationState.DONE else operation.message


def can_be_cancelled(operation: Operation) -> bool:
    """Whether `operations.cancel` would take it: the pages' button and the API's `cancellable`."""
    if operation.state == OperationState.QUEUED:
        return True
    is_running = operation.state == OperationState.RUNNING
    return is_running and not operation.cancel_asked and not operation.is_deletion


def _row(operation: Operation) -> dict[str, Any]:
    """One line of `GET /api/operations`."""
    full_name = operation.asked_for or operation.target
    row: dict[str, Any] = {
        "id": full_name,
        "name": operation.target,
        "fullName": full_name,
        "jobID": str(operation.pk),
        "progress": operation.progress,
        "taskType": operation.task_type,
        "isDeletion": operation.is_deletion,
        "isBackend": operation.kind == operations.Kind.BACKEND,
        "isQueued": operation.state == OperationState.QUEUED,
        "isCancelled": operation.cancel_asked,
        "cancellable": can_be_cancelled(operation),
        "message": operation.message,
        "askedBy": operation.asked_by,
    }
    if operation.state == OperationState.FAILED:
        row["error"] = operation.message
    if operation.phase:
        row["phase"] = operation.phase
    if operation.current_bytes is not None:
        row["currentBytes"] = operation.current_bytes
    if operation.total_bytes is not None:
        row["totalBytes"] = operation.total_bytes
    if (eta_s := eta_in_s(operation)) is not None:
        row["eta"] = eta_s
    return row


def eta_in_s(operation: Operation) -> int | None:
    """Seconds to go, from the bytes so far; None while they say nothing."""
    done, total, began = operation.current_bytes, operation.total_bytes, operation.started_at
    if operation.state != OperationState.RUNNING or not done or not total or began is None:
        return None
    took_s = (timezone.now() - began).total_seconds()
    return round(max(0, total - done) * took_s / done)


def _status(operation: Operation) -> dict[str, Any]:
    """LocalAI's OpStatus."""
    status: dict[str, Any] = {
        "deletion": operation.is_deletion,
        "file_name": operation.target,
        "error": operation.message if operation.state == OperationState.FAILED else None,
        "processed": operation.state in _OVER,
        "message": _message(operation),
        "progress": float(operation.progress),
        "file_size": shown_size(operation.total_bytes),
        "downloaded_size": shown_size(operation.current_bytes),
        "gallery_element_name": operation.asked_for or operation.target,
        "cancelled": operation.state == OperationState.CANCELLED,
        "cancellable": can_be_cancelled(operation),
    }
    if operation.phase:
        status["phase"] = operation.phase
    if operation.current_bytes is not None:
        status["current_bytes"] = operation.current_bytes
    if operation.total_bytes is not None:
        status["total_bytes"] = operation.total_bytes
    return status
