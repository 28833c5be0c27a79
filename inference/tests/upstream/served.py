"""Real servers with the same answers: uvicorn in a thread; gunicorn and nginx as processes."""

import datetime
import grp
import ipaddress
import os
import pwd
import shutil
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.postgresql import free_port

JSON, SSE = b"application/json", b"text/event-stream"
BIG = bytes(range(256)) * 12_288  # 3 MiB
# path: (status, content type, pieces of body, whether a content-length is given)
ANSWERS = {
    "/plain": (200, JSON, [b'{"a": 1}'], True),
    "/stream": (200, SSE, [b"data: %d\n\n" % i for i in range(20)], False),
    "/big": (200, b"application/octet-stream", [BIG], True),
    "/big-stream": (200, SSE, [BIG[:70_000]] * 10, False),
    "/empty": (200, JSON, [], True),
    "/empty-stream": (200, SSE, [], False),
    "/204": (204, b"", [], False),
    "/304": (304, b"", [], False),
    "/404": (404, JSON, [b'{"error": "no"}'], True),
    "/500": (500, b"text/plain", [b"no"], True),
}


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    given = ANSWERS.get(scope["path"], (200, b"application/octet-stream", [body], True))
    status, kind, pieces, has_length = given
    headers = [(b"content-type", kind)] if kind else []
    if has_length:
        headers.append((b"content-length", b"%d" % sum(map(len, pieces))))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def wsgi(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    given = ANSWERS.get(environ["PATH_INFO"], (200, b"application/octet-stream", [body], True))
    status, kind, pieces, has_length = given
    headers = [("content-type", kind.decode())] if kind else []
    if has_length:
        headers.append(("content-length", str(sum(map(len, pieces)))))
    start_response(f"{status} x", headers)
    return list(pieces)


class Certificate:
    """A self-made certificate for 127.0.0.1: its files, and who believes it."""

    def __init__(self, folder):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "engine")])
        now = datetime.datetime.now(datetime.UTC)
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.file, self.key = str(folder / "cert.pem"), str(folder / "key.pem")
        Path(self.file).write_bytes(made.public_bytes(serialization.Encoding.PEM))
        Path(self.key).write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    def believed(self):
        return ssl.create_default_context(cafile=self.file)

    def shown(self):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.file, self.key)
        return context


@contextmanager
def uvicorn_at(**options):
    config = uvicorn.Config(asgi, log_level="error", lifespan="off", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(5)


@contextmanager
def process(command, url):
    """A server as a process, once it answers; ended at the end."""
    one = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and one.poll() is None:
            with suppress(httpx.HTTPError):
                httpx.get(f"{url}/plain", timeout=1)
                break
            time.sleep(0.05)
        yield
    finally:
        one.terminate()
        one.wait(10)


@contextmanager
def gunicorn():
    """Its own HTTP, on threads: not uvicorn's under another name."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", "4"]
    command += ["--bind", url.removeprefix("http://"), "inference.tests.upstream.served:wsgi"]
    with process(command, url):
        yield url


NGINX = """
user {user} {group}; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 200; }}
http {{
  access_log off; client_max_body_size 20m; gzip on; gzip_types *; gzip_min_length 1;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream engine {{ server {engine}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port}; listen 127.0.0.1:{secure} ssl http2; listen unix:{folder}/nginx.sock;
    ssl_certificate {cert}; ssl_certificate_key {key};
    location / {{ proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_buffering off; }}
  }}
}}
"""


def nginx_program():
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


@contextmanager
def nginx(folder, engine, certificate):
    """nginx before `engine`: its ports for http and https, and its socket."""
    port, secure = free_port(), free_port()
    config = folder / "nginx.conf"
    config.write_text(
        NGINX.format(
            folder=folder,
            user=pwd.getpwuid(os.getuid()).pw_name,
            group=grp.getgrgid(os.getgid()).gr_name,
            engine=engine.removeprefix("http://"),
            port=port,
            secure=secure,
            cert=certificate.file,
            key=certificate.key,
        )
    )
    command = [nginx_program(), "-p", str(folder), "-c", str(config), "-e", str(folder / "e.log")]
    with process(command, f"http://127.0.0.1:{port}"):
        yield {
            "nginx": f"http://127.0.0.1:{port}",
            "nginx, TLS": f"https://127.0.0.1:{secure}",
            "nginx, socket": f"unix:{folder}/nginx.sock",
        }
