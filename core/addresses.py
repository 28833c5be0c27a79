"""Addresses to listen on, and what kind of address one is."""

import ipaddress
import socket

from core.interfaces import interface_addresses


def split_address(address: str) -> tuple[str, int]:
    """`host:port`, `:port` (all interfaces) or `[::1]:port`. Raises ValueError on anything else."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("wants host:port, :port or [::1]:port")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("wants host:port, :port or [::1]:port")
    return host, int(port)


def engine_item(item: str) -> tuple[str, str]:
    """`name=url` or `url` of LOCALAI_ENGINES as (name or empty, url)."""
    name, equals, url = item.partition("=")
    if equals and "/" not in name:
        return name.strip(), url.strip().rstrip("/")
    return "", item.rstrip("/")


def own_addresses() -> list[str]:
    """The machine's own addresses, as its resolver and its routes know them."""
    found = {"127.0.0.1"}
    try:
        found |= {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        found.add("0.0.0.0")  # unknown counts as public
    return sorted(found | interface_addresses())


def is_address(host: str, what: str) -> bool:
    try:
        return bool(getattr(ipaddress.ip_address(host), what))
    except ValueError:
        return False


def is_private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    shared = address.version == 4 and address in ipaddress.ip_network("100.64.0.0/10")
    return (address.is_private or address.is_link_local or shared) and not address.is_unspecified
