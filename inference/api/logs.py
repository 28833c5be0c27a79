"""The engines' logs for admins (R-13, R-23): listed, read, cleared; live by `inference.log_socket`."""

from typing import ClassVar

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.audit import page_number
from accounts.runtime import env
from core.declared import declares
from core.errors import InvalidRequestError, UnavailableError
from core.files import AlreadyHeldError
from inference.api import machine_answers as answers
from inference.api.machine import MachineView
from inference.log_files import clear, last_lines, log_folder, logged_models
from inference.log_socket import LogSocket

MAX_SEQ = 999_999_999


class BackendLogsView(MachineView):
    """`GET /api/backend-logs`: the models that have a log."""

    @declares("The models that have a log", answer=list[str])
    def get(self, _request: Request) -> Response:
        return Response(logged_models(env().data_path))


class BackendLogView(MachineView):
    """`GET /api/backend-logs/{model}`: its last 1,000 lines, or the first 1,000 after `?after=`."""

    @declares("The log of an engine", query=answers.LogQuery, answer=list[answers.LogLine])
    def get(self, request: Request, model: str) -> HttpResponse:
        given = request.query_params.get("after", "")
        after = page_number(given, "after", 0, 0, MAX_SEQ) if given else None
        lines = last_lines(log_folder(env().data_path, model), after)
        return HttpResponse(b"[" + b",".join(lines) + b"]", content_type="application/json")


class ClearBackendLogView(MachineView):
    """`POST /api/backend-logs/{model}/clear`: 204, also where there is nothing to clear."""

    http_method_names = ["post"]

    @declares("Clear the log of an engine", status=204)
    def post(self, _request: Request, model: str) -> HttpResponse:
        try:
            clear(log_folder(env().data_path, model))
        except AlreadyHeldError as exc:
            raise UnavailableError("The log is being written.", retry_after_s=1) from exc
        return HttpResponse(status=204)


class LogSocketView(MachineView):
    """`WS /ws/backend-logs/{model}`; a request that is no handshake is told so."""

    socket: ClassVar[type[LogSocket]] = LogSocket

    @declares("The log of an engine, live", query=answers.SocketQuery, status=101, errors=(426,))
    def get(self, _request: Request, model: str) -> HttpResponse:
        error = InvalidRequestError(f"This address is a WebSocket: the log of {model[:100]}.")
        error.http_status = 426
        error.headers.append((b"upgrade", b"websocket"))
        raise error
