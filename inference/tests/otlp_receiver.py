"""A collector on loopback: takes OTLP over HTTP as a real one does and keeps the spans."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Receiver:
    """`url` is what OTEL_EXPORTER_OTLP_ENDPOINT names; `spans` and `resources` what came."""

    def __init__(self):
        receiver = self
        self.spans, self.resources, self.raw = [], [], b""

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                raw = self.rfile.read(int(self.headers["content-length"]))
                assert self.path == "/v1/traces"
                assert self.headers["content-type"] == "application/x-protobuf"
                receiver.take(raw)
                body = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def take(self, raw):
        self.raw += raw
        for group in ExportTraceServiceRequest.FromString(raw).resource_spans:
            self.resources.append(plain(group.resource.attributes))
            for scope in group.scope_spans:
                self.spans += scope.spans

    def named(self, name):
        return [span for span in self.spans if span.name == name]

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def plain(attributes):
    """Attributes as a dict of Python values."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}
