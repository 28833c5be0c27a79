"""The host names this server answers to (R-37)."""

import socket
from urllib.parse import urlsplit

from accounts.runtime import env
from core.interfaces import interface_addresses

LOOPBACK_NAMES = {"localhost", "127.0.0.1", "[::1]"}


def allowed_hosts() -> set[str]:
    """LOCALAI_ALLOWED_HOSTS; else the address listened on, its loopback names, the base URL's host
    and, on a bind to every interface, the machine's own names and addresses.
    """
    configured = {host.lower() for host in env().allowed_hosts}
    base = urlsplit(env().public_url).hostname or ""
    if configured:
        return configured | {base}
    host = env().listen[0]
    names = LOOPBACK_NAMES | {base, f"[{host}]" if ":" in host else host}
    if host in {"", "0.0.0.0", "::"}:
        own = own_names()
        names |= {f"[{name}]" if ":" in name else name for name in own}
    return {name.lower() for name in names if name}


def own_names() -> set[str]:
    return {socket.gethostname(), socket.getfqdn(), *interface_addresses()}
