"""Traces of inference requests by OpenTelemetry. Imported only where an exporter is configured.

One server span per request of the lane, one client span for the engine's part. They hold numbers and
names of models, never what was asked or answered, nor who asked. Attributes are named by the
semantic conventions where these have a name.
"""

import logging
import threading
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from core.trace import Counts

log = logging.getLogger("gatehouse.traces")
MAX_QUEUE, EXPORT_TIMEOUT_S, CLOSE_TIMEOUT_S = 2048, 5.0, 5.0
CLIENT_GONE = "client_gone"  # the one error.type that is no reason of core.errors
_OPERATIONS = {
    "chat-completions": "chat",
    "messages": "chat",
    "responses": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
}
_propagator = TraceContextTextMapPropagator()


class OtlpTracing:
    """`core.trace.Tracing` over OTLP (HTTP, protobuf), sent in batches by a thread of the SDK's.

    `endpoint` is the collector's root, as OTEL_EXPORTER_OTLP_ENDPOINT has it. One that is down costs
    spans, never a request: the queue is bounded, and what is past it is dropped.
    """

    def __init__(self, endpoint: str, *, version: str = "") -> None:
        resource = Resource.create({SERVICE_VERSION: version})  # OTEL_SERVICE_NAME is in it
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "gatehouse"}))
        self._exporter = OTLPSpanExporter(
            endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S
        )
        self._processor = BatchSpanProcessor(self._exporter, max_queue_size=MAX_QUEUE)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("gatehouse")

    def start(
        self, method: str, route: str, headers: Mapping[bytes, bytes], correlation_id: bytes
    ) -> "OtlpTrace":
        """A server span `METHOD /route` whose parent is the caller's span."""
        carrier = {
            name: value.decode("latin-1")
            for name in ("traceparent", "tracestate")
            if (value := headers.get(name.encode())) is not None
        }
        span = self._tracer.start_span(
            f"{method} {route}",
            context=_propagator.extract(carrier, Context()),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": method,
                "http.route": route,
                "gatehouse.correlation_id": correlation_id.decode("latin-1"),
            },
        )
        return OtlpTrace(self._tracer, span)

    def close(self) -> None:
        """Send what is left, for at most CLOSE_TIMEOUT_S."""
        flush = threading.Thread(target=self._processor.shutdown, daemon=True)  # the SDK takes 30 s
        flush.start()
        flush.join(CLOSE_TIMEOUT_S)
        if flush.is_alive():
            log.warning("traces: the collector does not take the last spans")
            self._exporter.shutdown()  # type: ignore[no-untyped-call]


class OtlpTrace:
    """`core.trace.Trace`: the server span of one request and the client span below it."""

    __slots__ = ("_counts", "_engine", "_model", "_span", "_tracer")

    def __init__(self, tracer: trace.Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._engine: Span | None = None
        self._counts: Counts | None = None
        self._model = ""

    def serves(self, model: str, counts: Counts) -> None:
        self._model, self._counts = model, counts

    def to_engine(self, endpoint: str, upstream: str, served_model: str) -> bytes:
        operation = _OPERATIONS.get(endpoint)
        attributes = {"gen_ai.request.model": served_model}
        if operation is not None:
            attributes["gen_ai.operation.name"] = operation
        span = self._engine = self._tracer.start_span(
            f"{operation} {served_model}" if operation else f"POST {upstream}",
            context=trace.set_span_in_context(self._span, Context()),
            kind=SpanKind.CLIENT,
            attributes=attributes,
        )
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, trace.set_span_in_context(span, Context()))
        lines = "".join(f"{name}: {value}\r\n" for name, value in carrier.items())
        return lines.encode("latin-1")

    def from_engine(self, status: int) -> None:
        span, self._engine = self._engine, None
        if span is None:
            return
        self._add_tokens(span)
        if status:
            span.set_attribute("http.response.status_code", status)
        if not 0 < status < 400:
            span.set_status(StatusCode.ERROR)
        span.end()

    def end(self, status: int, reason: str, *, complete: bool) -> None:
        span = self._span
        if self._model:
            span.set_attribute("gen_ai.request.model", self._model)
            self._add_tokens(span)
        if status:
            span.set_attribute("http.response.status_code", status)
        if reason or not complete:
            span.set_attribute("error.type", reason or CLIENT_GONE)
        if reason and not 400 <= status < 500:  # a server span of a caller's own fault is no error
            span.set_status(StatusCode.ERROR)
        span.end()

    def _add_tokens(self, span: Span) -> None:
        if self._counts is not None:
            span.set_attribute("gen_ai.usage.input_tokens", self._counts.prompt_tokens)
            span.set_attribute("gen_ai.usage.output_tokens", self._counts.completion_tokens)
