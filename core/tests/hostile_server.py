"""A small HTTP server on loopback that does what it is told: badly, mostly."""

import socket
import threading
import time
from contextlib import suppress

BODY = bytes(range(256)) * 1024  # 256 KiB


class Hostile:
    """`serve` maps a path to a function of (connection, request's head); `asked` keeps the heads."""

    def __init__(self, *, tls=None):
        self._tls = tls
        self.serve = {}
        self.asked = []
        self._closing = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self._closing.is_set():
            with suppress(OSError):
                connection, _ = self._listening.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with connection, suppress(OSError):
            connection.settimeout(20)
            if self._tls is None:
                self._talk(connection)
                return
            with self._tls.wrap_socket(connection, server_side=True) as secure:
                self._talk(secure)

    def _talk(self, connection):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65536)
            if not piece:
                return
            head += piece
        text = head.decode("latin-1")
        self.asked.append(text)
        self.serve.get(text.split(" ")[1], not_found)(connection, text)

    def close(self):
        self._closing.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def answer(status, body=b"", **headers):
    """The bytes of a whole answer; `headers` with _ for -."""
    headers = {"content_length": len(body), **headers}
    lines = [f"{k.replace('_', '-')}: {v}" for k, v in headers.items() if v is not None]
    return ("\r\n".join([f"HTTP/1.1 {status} x", *lines]) + "\r\n\r\n").encode() + body


def says(status, body=b"", **headers):
    return lambda connection, _head: connection.sendall(answer(status, body, **headers))


not_found = says(404, b"no")


def drips(connection, _head):
    """The head at once, then a byte every now and then, without an end."""
    connection.sendall(answer(200, content_length=None))
    for _ in range(2000):
        connection.sendall(b"x")
        time.sleep(0.01)


def drips_its_head(connection, _head):
    connection.sendall(b"HTTP/1.1 200 x\r\n")
    for i in range(2000):
        connection.sendall(b"x-%d: y\r\n" % (i % 50))
        time.sleep(0.05)


def endless(connection, _head):
    connection.sendall(answer(200, content_length=None))
    while True:
        connection.sendall(BODY)


def ranged(body, *, cut=None, etag='"one"'):
    """Serves ranges; the first answer breaks off after `cut` bytes."""
    state = {"cut": cut}

    def serve(connection, head):
        lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        begin = 0
        fits = lines.get("if-range", etag) == etag
        if "range" in lines and fits:
            begin = int(lines["range"].removeprefix("bytes=").rstrip("-"))
        rest = body[begin:]
        extra = {"content_range": f"bytes {begin}-{len(body) - 1}/{len(body)}"} if begin else {}
        sent = answer(206 if begin else 200, rest, etag=etag, **extra)
        limit, state["cut"] = state["cut"], None
        connection.sendall(sent if limit is None else sent[: len(sent) - len(rest) + limit])

    return serve
