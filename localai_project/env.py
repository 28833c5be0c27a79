"""The only reader of the environment: every setting, typed and checked once, at start.

A malformed value stops the start with one line that names the variable, what it got and what it
wants. Names and meanings of LocalAI's own settings are kept (contract, section 10).
"""

import difflib
import ipaddress
import os
import re
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from core.addresses import is_address, is_private, own_addresses, split_address
from core.attempts import Rate
from core.durations import parse_duration
from core.gallery_list import Galleries, Pinned
from core.keyring import MIN_SECRET_CHARS
from localai_project.env_engines import CommaList, EngineEnv

CHECKOUT = Path(__file__).resolve().parent.parent


class SettingError(Exception):
    """One line that says which variable is wrong, what it holds and what it wants."""


def _names(*names: str) -> Any:
    return AliasChoices(*names)


class Env(EngineEnv):
    """All settings. Fields are named as the variables are, without the prefix."""

    model_config = SettingsConfigDict(
        env_prefix="LOCALAI_", extra="ignore", frozen=True, env_ignore_empty=True
    )

    address: str = "127.0.0.1:8080"
    base_url: str = ""
    data_path: Path = CHECKOUT / "data"
    config_dir: Path | None = None
    models_path: Path = CHECKOUT / "models"
    backends_path: Path = CHECKOUT / "backends"
    auth: bool = False
    auth_database_url: str = Field(
        "", validation_alias=_names("LOCALAI_AUTH_DATABASE_URL", "DATABASE_URL")
    )
    auth_hmac_secret: CommaList = []
    api_key: CommaList = Field([], validation_alias=_names("LOCALAI_API_KEY", "API_KEY"))
    admin_email: str = ""
    registration_mode: Literal["open", "approval", "invite"] = "approval"
    disable_local_auth: bool = False
    github_client_id: str = Field("", validation_alias="GITHUB_CLIENT_ID")
    github_client_secret: str = Field("", validation_alias="GITHUB_CLIENT_SECRET")
    github_url: str = "https://github.com"
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = ""
    oidc_name: str = "SSO"
    oidc_token_auth_method: Literal["", "client_secret_basic", "client_secret_post"] = ""
    oidc_audience: str = ""
    oidc_jwt_types: CommaList = ["at+jwt"]
    oidc_groups_claim: str = "groups"
    oidc_admin_groups: CommaList = []
    disable_api_key_requirement_for_http_get: bool = False
    http_get_exempted_endpoints: CommaList = [
        "^/$",
        "^/app(/.*)?$",
        "^/browse(/.*)?$",
        "^/login/?$",
        "^/explorer/?$",
        "^/assets/.*$",
        "^/static/.*$",
        "^/swagger.*$",
    ]
    redis_url: str = ""
    require_mfa: Literal["none", "admins", "all"] = "none"
    email_url: str = ""
    email_from: str = ""
    default_api_key_expiry: str = ""
    auth_rate_limit: str = "5/m"
    trusted_proxies: CommaList = []
    allow_insecure_public_bind: bool = False
    allowed_hosts: CommaList = []
    opaque_errors: bool = False
    cors: bool = False
    cors_allow_origins: CommaList = []
    disable_csrf: bool = False
    disable_runtime_settings: bool = Field(
        default=False,
        validation_alias=_names("LOCALAI_DISABLE_RUNTIME_SETTINGS", "DISABLE_RUNTIME_SETTINGS"),
    )
    upload_limit: int = Field(15, ge=1, le=1024)
    web_workers: int = Field(0, ge=0, le=256)
    galleries: Galleries = None
    backend_galleries: Galleries = None
    external_backends: Pinned = {}
    fetch_allow: CommaList = []
    hf_endpoint: str = Field("https://huggingface.co", validation_alias="HF_ENDPOINT")
    hf_token: str = Field("", validation_alias="HF_TOKEN")
    chat_history: bool = True
    chat_retention: str = ""
    usage_retention: str = ""
    disable_stats: bool = False
    usage_when_full: Literal["refuse", "serve"] = "refuse"
    usage_sync: bool = False
    journal_limit: int = Field(2048, ge=64, le=1024 * 1024)
    currency: str = Field("USD", pattern=r"^[A-Za-z]{1,8}$")
    quota_when_away: Literal["refuse", "serve"] = "refuse"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    metrics_users: bool = False
    otlp_endpoint: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")

    @field_validator(
        "auth_hmac_secret",
        "api_key",
        "trusted_proxies",
        "allowed_hosts",
        "cors_allow_origins",
        "fetch_allow",
        "oidc_jwt_types",
        "oidc_admin_groups",
        "http_get_exempted_endpoints",
        mode="before",
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [item.strip() for item in value.split(",") if item.strip()]
        return value

    @field_validator("auth_hmac_secret")
    @classmethod
    def _long_enough(cls, value: list[str]) -> list[str]:
        if any(len(secret) < MIN_SECRET_CHARS for secret in value):
            raise ValueError(f"wants secrets of at least {MIN_SECRET_CHARS} characters")
        return value

    @field_validator("auth_rate_limit")
    @classmethod
    def _rate(cls, value: str) -> str:
        Rate.parse(value)
        return value

    @field_validator("default_api_key_expiry", "usage_retention", "chat_retention")
    @classmethod
    def _duration(cls, value: str) -> str:
        try:
            if value:
                parse_duration(value)
        except ValueError as exc:
            raise ValueError("wants a duration such as 90d, 1y or 24h") from exc
        return value

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        split_address(value)
        return value

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if not value:
            return value
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise ValueError("wants an http:// or https:// address")
        return value.rstrip("/")

    @field_validator("github_url", "oidc_issuer", "otlp_endpoint", "hf_endpoint")
    @classmethod
    def _provider_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query):
            raise ValueError("wants an http:// or https:// address")
        return value

    @field_validator("http_get_exempted_endpoints")
    @classmethod
    def _patterns(cls, value: list[str]) -> list[str]:
        for item in value:
            try:
                re.compile(item)
            except re.error as exc:
                raise ValueError("wants regular expressions, comma-separated") from exc
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("wants redis://user:password@host:port/0 or rediss://…")
        return value

    @field_validator("email_url")
    @classmethod
    def _mail_server(cls, value: str) -> str:
        parts = urlsplit(value)
        fine = parts.scheme in {"smtp", "smtps"} and parts.hostname
        if value and not fine and not (parts.scheme == "file" and parts.path.startswith("/")):
            raise ValueError("wants smtp://user:password@host:port, smtps://… or file:///folder")
        return value

    @field_validator("oidc_jwt_types")
    @classmethod
    def _jwt_types(cls, value: list[str]) -> list[str]:
        return [item.lower().removeprefix("application/") for item in value]

    @field_validator("auth_database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        scheme = value.partition("://")[0] if "://" in value else ""
        if scheme not in {"", "postgres", "postgresql", "sqlite"}:
            raise ValueError("wants postgres://user:password@host/name or a path of a SQLite file")
        return value

    @field_validator("trusted_proxies", "fetch_allow")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for item in value:
            try:
                ipaddress.ip_network(item, strict=False)
            except ValueError as exc:
                raise ValueError("wants addresses or networks such as 10.0.0.0/8") from exc
        return value

    @model_validator(mode="before")
    @classmethod
    def _providers_mean_accounts(cls, data: Any) -> Any:
        """A configured provider switches accounts on (contract, section 10)."""
        if data.get("GITHUB_CLIENT_ID") or data.get("oidc_client_id"):
            data["auth"] = True
        return data

    @model_validator(mode="after")
    def _providers(self) -> "Env":
        if self.oidc_client_id and not self.oidc_issuer:
            raise ValueError("LOCALAI_OIDC_CLIENT_ID: wants LOCALAI_OIDC_ISSUER beside it")
        if self.oidc_audience and self.oidc_audience == self.oidc_client_id:
            raise ValueError(
                "LOCALAI_OIDC_AUDIENCE: is the client id, so every id token would be a key; wants "
                "the audience of an API of its own"
            )
        if self.oidc_audience and not self.oidc_issuer:
            raise ValueError("LOCALAI_OIDC_AUDIENCE: wants LOCALAI_OIDC_ISSUER beside it")
        return self

    @model_validator(mode="after")
    def _public_bind(self) -> "Env":
        open_door = not self.auth and not self.api_key
        if open_door and not self.allow_insecure_public_bind and not self.binds_privately:
            raise ValueError(
                f"LOCALAI_ADDRESS: {self.address} is a public address and nothing asks callers who "
                "they are; set LOCALAI_AUTH=true or LOCALAI_API_KEY, listen on 127.0.0.1, or set "
                "LOCALAI_ALLOW_INSECURE_PUBLIC_BIND=true"
            )
        return self

    @cached_property
    def listen(self) -> tuple[str, int]:
        """Host (empty for every interface) and port."""
        return split_address(self.address)

    @property
    def binds_loopback(self) -> bool:
        host = self.listen[0]
        return host == "localhost" or (bool(host) and is_address(host, "is_loopback"))

    @property
    def binds_privately(self) -> bool:
        """Loopback, RFC 1918, ULA, link-local, 100.64/10; a wildcard only if every interface is."""
        host = self.listen[0]
        if self.binds_loopback:
            return True
        if host in {"", "0.0.0.0", "::"}:
            return all(is_private(address) for address in own_addresses())
        return is_private(host)

    @property
    def public_url(self) -> str:
        """Where callers reach this server, without a trailing slash (S-48)."""
        host, port = self.listen
        if self.base_url:
            return self.base_url
        if self.binds_loopback or not host or host in {"0.0.0.0", "::"}:
            return f"http://localhost:{port}"
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"


_KNOWN = {"LOCALAI_" + name.upper() for name in Env.model_fields if name != "auth_database_url"} | {
    "LOCALAI_AUTH_DATABASE_URL"
}
_SECRET = {
    "auth_hmac_secret",
    "api_key",
    "engines_key",
    "hf_token",
    "auth_database_url",
    "github_client_secret",
    "oidc_client_secret",
    "email_url",
    "redis_url",
}


def unknown_names(environ: dict[str, str] | None = None) -> list[str]:
    """A warning for each `LOCALAI_` variable that means nothing here, with the nearest name."""
    warnings = []
    for name in sorted(os.environ if environ is None else environ):
        if name.startswith("LOCALAI_") and name not in _KNOWN:
            near = difflib.get_close_matches(name, _KNOWN, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            warnings.append(f"{name} is not a setting of this server{hint}")
    return warnings


def read_env() -> Env:
    """The settings. Raises SettingError with the one line that says what to change."""
    given: dict[str, list[str]] = {}
    if os.environ.get("LOCALAI_MODELS") == "":
        given["models"] = []  # empty means none here; elsewhere it means unset
    try:
        return Env(**given)  # type: ignore[arg-type]  # the plugin sees aliases as required
    except ValidationError as exc:
        raise SettingError(_one_line(exc)) from exc


def _one_line(exc: ValidationError) -> str:
    error = exc.errors(include_url=False)[0]
    wants = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "wants")
    if not error["loc"]:
        return wants
    field = str(error["loc"][0])
    name = field if field.isupper() else f"LOCALAI_{field.upper()}"
    lowered = name.removeprefix("LOCALAI_").lower()
    given = repr(error["input"])
    got = "a secret" if lowered in _SECRET or "@" in given else given
    return f"{name}: got {got}; {wants}"


def load() -> Env:
    """As `read_env`, but for a program's start: prints the line and exits 1.

    Also makes the data path, as everything else needs it.
    """
    try:
        env = read_env()
        env.data_path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(env.data_path, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        metrics = env.data_path.resolve() / "metrics"
        metrics.mkdir(exist_ok=True, mode=0o700)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)  # before prometheus_client's import
    except SettingError as exc:
        _stop(str(exc))
    except OSError as exc:
        what = "the disk is full" if exc.errno == 28 else str(exc.strerror).lower()
        _stop(f"LOCALAI_DATA_PATH: {env.data_path} cannot be written ({what}); choose another")
    return env


def _stop(line: str) -> NoReturn:
    sys.stderr.write(f"gatehouse: {line}\n")
    sys.exit(1)
