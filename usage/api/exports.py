"""Exports: single events, streamed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import StreamingHttpResponse
from rest_framework.request import Request

from accounts.api.base import AccountView
from core.declared import Content, declares
from core.errors import InvalidRequestError
from usage.api import shapes
from usage.api.reports import filters_in, window_in
from usage.reports.export import Export, as_csv, as_json_lines
from usage.reports.freshness import bring_in
from usage.reports.sums import Filters

# Of their own: whoever exports holds up other exports, and no answer.
_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="export")
_FORMATS = {
    "csv": (as_csv, "text/csv; charset=utf-8"),
    "jsonl": (as_json_lines, "application/x-ndjson"),
}
FILES = [Content(kind.partition(";")[0]) for _, kind in _FORMATS.values()]


class ExportView(AccountView):
    """The caller's own events: `format` csv or jsonl, and a window."""

    @declares("One's own events as a file", query=shapes.OwnExport, answer=FILES)
    def get(self, request: Request) -> StreamingHttpResponse:
        return _export(request, filters_in(request, self.principal(request).user_id))


class AdminExportView(AccountView):
    """Everybody's, or by `user_id`, `api_key_id`, `source`, `model`."""

    @declares("Everybody's events as a file", query=shapes.AnyExport, answer=FILES)
    def get(self, request: Request) -> StreamingHttpResponse:
        return _export(request, filters_in(request, request.query_params.get("user_id") or None))


def _export(request: Request, filters: Filters) -> StreamingHttpResponse:
    found = _FORMATS.get(request.query_params.get("format") or "csv")
    if found is None:
        raise InvalidRequestError(f"format must be one of {', '.join(_FORMATS)}", param="format")
    write, kind = found
    window = window_in(request)
    bring_in()
    parts = write(Export(window, filters).pages())
    # Django gathers what it cannot stream: under ASGI that is whatever is not asynchronous.
    on_asgi = isinstance(request._request, ASGIRequest)  # noqa: SLF001
    response = StreamingHttpResponse(_in_threads(parts) if on_asgi else parts, content_type=kind)
    suffix = "csv" if write is as_csv else "jsonl"
    response["Content-Disposition"] = f'attachment; filename="usage.{suffix}"'
    return response


async def _in_threads(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    def one() -> bytes | None:
        try:
            return next(parts, None)
        finally:
            connection.close()  # the thread of the next page may be another

    loop = asyncio.get_running_loop()
    while (part := await loop.run_in_executor(_THREADS, one)) is not None:
        yield part
