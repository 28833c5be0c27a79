"""What every response carries, whichever door it leaves by (S-23, contract 4.7)."""

from dataclasses import dataclass, field

Headers = list[tuple[bytes, bytes]]
CSP = (
    b"default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    b"connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    b"frame-ancestors 'self'"
)
SECURITY_HEADERS: Headers = [
    (b"content-security-policy", CSP),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
]
SECURITY_BLOCK = b"".join(b"%b: %b\r\n" % pair for pair in SECURITY_HEADERS)
PREFLIGHT_HEADERS: Headers = [
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        (
            b"authorization, content-type, x-api-key, xi-api-key, x-correlation-id, prefer, "
            b"anthropic-version, anthropic-beta, openai-organization, openai-project"
        ),
    ),
    (b"access-control-max-age", b"600"),
]


@dataclass(frozen=True, slots=True)
class OriginRules:
    """Which browsers' origins may read answers; `allow` empty and `enabled` means every one."""

    enabled: bool = False
    allow: frozenset[str] = frozenset()

    def headers(self, origin: bytes | None) -> Headers:
        """CORS headers for a request from `origin`; never with credentials."""
        if not self.enabled or origin is None:
            return []
        if not self.allow:
            return [(b"access-control-allow-origin", b"*")]
        if origin.decode("latin-1") in self.allow:
            return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        return [(b"vary", b"Origin")]


@dataclass(frozen=True, slots=True)
class HostRules:
    """The host names this server answers to (R-37); `*` in `allow` takes any."""

    allow: frozenset[str]
    _seen: set[bytes] = field(default_factory=set, compare=False)

    def permits(self, host: bytes | None) -> bool:
        if (host is not None and host in self._seen) or "*" in self.allow:
            return True
        if host is None or not host.isascii() or not self._judge(host):
            return False
        if len(self._seen) < 64:
            self._seen.add(host)
        return True

    def _judge(self, host: bytes) -> bool:
        name = host.decode("ascii").lower()
        name = name.partition("]")[0] + "]" if name.startswith("[") else name.partition(":")[0]
        return name.rstrip(".") in self.allow
