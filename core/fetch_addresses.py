"""Which addresses the fetcher may connect to: public ones, and those that the operator lets through."""

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# What `is_global` of some Python versions lets through: protocol assignments, 6to4 relays, documentation,
# site-local addresses (IANA's special-purpose registries).
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "5f00::/16", "fec0::/10")
)
MAX_URL_CHARS = 4096


class FetchError(Exception):
    """One line that says what went wrong; it names the host, never the whole address (secrets)."""


class RefusedError(FetchError):
    """The address may not be fetched at all; trying again is no use."""


@dataclass(frozen=True, slots=True)
class Url:
    """An address taken apart once; nothing else reads it again (two parsers see two hosts)."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return host if self.port == usual else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return (self.scheme, self.host, self.port)


def read_url(text: str) -> Url:
    """Raises RefusedError for what is not a plain http or https address."""
    bad = len(text) > MAX_URL_CHARS or "\\" in text or " " in text
    if bad or not text.isascii() or not text.isprintable():
        raise RefusedError("The address is not a valid one.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise RefusedError("The address is not a valid one.") from exc
    if parts.scheme not in {"http", "https"}:
        raise RefusedError("Only http and https addresses are fetched.")
    if not parts.hostname or parts.username is not None or "%" in parts.hostname:
        raise RefusedError("The address is not a valid one.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    port = port or (443 if parts.scheme == "https" else 80)
    return Url(parts.scheme, parts.hostname, port, target)


def addresses_of(url: Url, *, allow: tuple[Network, ...]) -> list[str]:
    """The addresses of its host, every one of them allowed. Raises FetchError, RefusedError.

    One that is not makes the host refused whole: a name that points both out and in is no accident.
    """
    try:
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise FetchError(f"{url.host} has no address here.") from exc
    listed = list(dict.fromkeys(str(info[4][0]) for info in found))
    if not all(may_connect(each, allow=allow) for each in listed):
        raise RefusedError(
            f"{url.host} is an address inside this network; LOCALAI_FETCH_ALLOW can let it through."
        )
    return listed


def may_connect(text: str, *, allow: tuple[Network, ...]) -> bool:
    """Whether an address (as the resolver gives it) is public, or let through."""
    try:
        address = _unwrapped(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return False
    if any(address in network for network in allow):
        return True
    if address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
