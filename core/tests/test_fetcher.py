"""Family 8: the one fetcher against servers that mean harm (CVE-2026-45401, GHSA-9f46-w24h-69w4)."""

import hashlib
import ipaddress
import json
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core import fetcher as module
from core.fetch_addresses import FetchError, RefusedError, may_connect, read_url
from core.fetcher import BrokenOffError, Fetcher, Limits, NotThereError
from core.tests import hostile_server as bad
from core.tests.hostile_server import BODY, Hostile, says

LOOPBACK = (ipaddress.ip_network("127.0.0.1/32"),)
LIMITS = Limits(max_bytes=1024 * 1024, connect_s=2, read_s=1, total_s=2)
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server():
    one = Hostile()
    yield one
    one.close()


@pytest.fixture
def fetcher(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    return Fetcher(allow=LOOPBACK)


def download(fetcher, server, to, limits=LIMITS, **more):
    return fetcher.save(f"{server.url}/file", to / "file", limits=limits, **more)


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "fec0::1",
        "192.0.0.192",
        "3fff::1",
        "nonsense",
    ],
)
def test_r06_addresses_inside_are_refused_in_every_spelling(address):
    assert not may_connect(address, allow=())


def test_r06_public_addresses_and_those_let_through_are_taken():
    assert may_connect("93.184.216.34", allow=())
    assert may_connect("2606:4700::1111", allow=())
    assert may_connect("10.1.2.3", allow=(ipaddress.ip_network("10.0.0.0/8"),))
    assert may_connect("::ffff:10.1.2.3", allow=(ipaddress.ip_network("10.0.0.0/8"),))
    assert not may_connect("169.254.169.254", allow=(ipaddress.ip_network("10.0.0.0/8"),))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "[::ffff:127.0.0.1]"]
)
def test_r06_loopback_is_refused_by_whatever_name_and_never_asked(server, host):
    with pytest.raises(RefusedError):
        Fetcher().read(f"http://{host}:{server.port}/file", limits=LIMITS)

    assert server.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/x",
        "gopher://example.org/",
        "http://user:secret@example.org/",
        "http://example.org\\@127.0.0.1/",
        "http:///nothing",
        "http://exa mple.org/",
        "http://example.org:99999/",
        "http://example.org/\r\nx: y",
        "http://[fe80::1%25eth0]/",
        "",
    ],
)
def test_what_is_not_a_plain_address_is_refused(url):
    with pytest.raises(RefusedError) as caught:
        read_url(url)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.2/",
        "http://[::1]:80/",
        "file:///etc/passwd",
        "//10.0.0.1/x",
        "http://[::1",
    ],
)
def test_r06_a_redirect_is_judged_anew(fetcher, server, target):
    server.serve["/file"] = says(302, location=target)

    with pytest.raises(RefusedError):
        fetcher.read(f"{server.url}/file", limits=LIMITS)


def test_a_redirect_is_followed_and_a_ring_of_them_is_not(fetcher, server):
    server.serve["/file"] = says(302, location="/there")
    server.serve["/there"] = says(200, b"here")
    server.serve["/ring"] = says(302, location="/ring")

    assert fetcher.read(f"{server.url}/file", limits=LIMITS) == b"here"
    with pytest.raises(RefusedError):
        fetcher.read(f"{server.url}/ring", limits=LIMITS)
    assert len(server.asked) == 2 + module.MAX_REDIRECTS + 1


def test_r06_a_name_that_moves_inside_after_it_was_judged_reaches_nobody(server, monkeypatch):
    """Rebinding: the name is looked up once, and the connection goes to what was judged."""
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    connected = []

    def lookup(_host, port, **_more):
        family, kind = socket.AF_INET, socket.SOCK_STREAM
        return [(family, kind, 6, "", (each, port)) for each in next(answers)]

    monkeypatch.setattr("core.fetch_addresses.socket.getaddrinfo", lookup)

    class Recorded(module.HTTPConnection):
        def connect(self):
            connected.append(self.host)
            raise OSError

    monkeypatch.setattr(module, "HTTPConnection", Recorded)
    with pytest.raises(FetchError):
        Fetcher().read(f"http://moves.example:{server.port}/file", limits=LIMITS)

    assert connected == ["93.184.216.34"]


def test_credentials_do_not_go_along_to_another_server(fetcher, server):
    other = Hostile()
    server.serve["/file"] = says(302, location=f"{other.url}/file")
    other.serve["/file"] = says(200, b"ok")

    fetcher.read(f"{server.url}/file", limits=LIMITS, headers={"Authorization": "Bearer s3cret"})

    assert "s3cret" in server.asked[0]
    assert "s3cret" not in other.asked[0]
    other.close()


@pytest.mark.parametrize("path", ["/drip", "/head", "/endless", "/large", "/packed"])
def test_slow_endless_large_and_packed_answers_are_broken_off(fetcher, server, path):
    server.serve |= {
        "/drip": bad.drips,
        "/head": bad.drips_its_head,
        "/endless": bad.endless,
        "/large": says(200, content_length=2**40),
        "/packed": says(200, b"x", content_encoding="gzip"),
    }
    began = time.monotonic()

    with pytest.raises(FetchError):
        fetcher.read(f"{server.url}{path}", limits=LIMITS)

    assert time.monotonic() - began < 6


@pytest.mark.parametrize("length", ["²", "9" * 5000, "-1"])
def test_an_announced_length_that_is_none_is_not_believed(fetcher, server, length):
    def serve(connection, _head):
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        connection.sendall(head.encode("latin-1") + b"body")

    server.serve["/file"] = serve
    try:
        assert fetcher.read(f"{server.url}/file", limits=LIMITS) == b"body"
    except FetchError:
        return  # an error of its own kind is an answer as well


def test_the_time_of_a_fetch_is_over_all_its_redirects(fetcher, server):
    def late(connection, _head):
        time.sleep(0.5)
        connection.sendall(bad.answer(302, location="/file"))

    server.serve["/file"] = late
    began = time.monotonic()
    with pytest.raises(FetchError):
        fetcher.read(f"{server.url}/file", limits=Limits(max_bytes=10, total_s=0.8))
    assert time.monotonic() - began < 1.5


def test_a_download_is_whole_checked_and_in_place(fetcher, server, tmp_path):
    server.serve["/file"] = says(200, BODY)
    seen = []

    digest = download(
        fetcher, server, tmp_path, sha256=DIGEST.upper(), report=lambda *at: seen.append(at)
    )

    assert digest == DIGEST
    assert (tmp_path / "file").read_bytes() == BODY
    assert left_in(tmp_path) == ["file"]
    assert seen[-1] == (len(BODY), len(BODY))


@pytest.mark.parametrize(
    ("serve", "error"),
    [
        (says(200, BODY[:-1]), FetchError),
        (says(404), NotThereError),
        (says(401), FetchError),
        (says(500), FetchError),
        (says(200, BODY, content_length=len(BODY) + 5), FetchError),
        (bad.endless, FetchError),
        (says(200, content_length=2**50), FetchError),
        (lambda *_: None, BrokenOffError),
        (lambda c, _: c.sendall(b"nonsense\r\n\r\n"), BrokenOffError),
    ],
    ids=["checksum", "404", "401", "500", "truncated", "endless", "large", "silent", "nonsense"],
)
def test_nothing_is_left_of_a_download_that_failed(fetcher, server, tmp_path, serve, error):
    server.serve["/file"] = serve

    with pytest.raises(error):
        download(fetcher, server, tmp_path, sha256=DIGEST)

    assert left_in(tmp_path) == []


def test_what_broke_off_goes_on_where_it_stopped(fetcher, server, tmp_path):
    server.serve["/file"] = bad.ranged(BODY, cut=100_000)

    assert download(fetcher, server, tmp_path) == DIGEST

    assert "Range" not in server.asked[0]
    assert "Range: bytes=100000-" in server.asked[1]
    assert 'If-Range: "one"' in server.asked[1]
    assert left_in(tmp_path) == ["file"]


@pytest.mark.parametrize("etag", ['"one"', '"two"'])
def test_what_an_earlier_process_left_is_used_only_where_it_is_still_the_same(
    fetcher, server, tmp_path, etag
):
    (tmp_path / "file.part").write_bytes(BODY[:5000] if etag == '"one"' else b"old" * 1000)
    note = {"url": f"{server.url}/file", "validator": '"one"'}
    (tmp_path / "file.part.json").write_text(json.dumps(note))
    server.serve["/file"] = bad.ranged(BODY, etag=etag)

    assert download(fetcher, server, tmp_path) == DIGEST
    assert "Range: bytes=" in server.asked[0]


def test_a_half_file_without_a_validator_is_not_trusted(fetcher, server, tmp_path):
    (tmp_path / "file.part").write_bytes(b"other")
    (tmp_path / "file.part.json").write_text('{"url": "http://elsewhere/", "validator": ""}')
    server.serve["/file"] = says(200, BODY)

    assert download(fetcher, server, tmp_path) == DIGEST
    assert "Range" not in server.asked[0]


@pytest.mark.parametrize("status", [416, 206])
def test_a_half_file_that_the_server_does_not_go_on_from_is_fetched_anew(
    fetcher, server, tmp_path, status
):
    """It was whole already when the process was killed, or the file is a shorter one now."""
    (tmp_path / "file.part").write_bytes(BODY)
    note = {"url": f"{server.url}/file", "validator": '"one"'}
    (tmp_path / "file.part.json").write_text(json.dumps(note))

    def serve(connection, head):
        ranged = "Range:" in head
        connection.sendall(bad.answer(status, b"x") if ranged else bad.answer(200, BODY))

    server.serve["/file"] = serve

    assert download(fetcher, server, tmp_path, sha256=DIGEST) == DIGEST
    assert left_in(tmp_path) == ["file"]


def certificate(folder, name):
    """A self-signed certificate for `name`: its file, and the context of a server that has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return pem, context


def test_tls_is_checked_against_the_name_and_not_the_address(tmp_path, monkeypatch):
    pem, context = certificate(tmp_path, "localhost")
    server = Hostile(tls=context)
    server.serve["/file"] = says(200, b"secret")
    both = (*LOOPBACK, ipaddress.ip_network("::1/128"))
    monkeypatch.setattr(module.certifi, "where", lambda: str(pem))
    known = Fetcher(allow=both)

    assert known.read(f"https://localhost:{server.port}/file", limits=LIMITS) == b"secret"
    with pytest.raises(RefusedError, match="certificate"):
        known.read(f"https://127.0.0.1:{server.port}/file", limits=LIMITS)
    monkeypatch.undo()
    with pytest.raises(RefusedError, match="certificate"):
        Fetcher(allow=both).read(f"https://localhost:{server.port}/file", limits=LIMITS)
    assert f"Host: localhost:{server.port}" in server.asked[0]
    assert len(server.asked) == 1
    server.close()


def test_tls_needs_a_certificate_that_is_known(fetcher, server, tmp_path):
    with pytest.raises(FetchError):
        fetcher.read(f"https://127.0.0.1:{server.port}/", limits=LIMITS)
