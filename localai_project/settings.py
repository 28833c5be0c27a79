"""Django's settings. Everything that differs between servers comes from `env`."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from core.files import secrets_from_file
from core.keyring import Keyring
from core.static_collection import COMPLETE, collection_folder
from localai_project import env

BASE_DIR = Path(__file__).resolve().parent.parent
GATEHOUSE = env.load()
ENVIRONMENT_WARNINGS = env.unknown_names()
VERSION = re.findall(r"^## (\S+)", (BASE_DIR / "CHANGELOG.md").read_text(), re.MULTILINE)[0]

_secrets = GATEHOUSE.auth_hmac_secret or secrets_from_file(GATEHOUSE.data_path / "secrets" / "hmac")
SECRET_KEY, *SECRET_KEY_FALLBACKS = Keyring(_secrets, "django").raw()
DEBUG = False
ALLOWED_HOSTS = ["*"]  # accounts.middleware judges the host, with the same rules as the lane
ROOT_URLCONF = "localai_project.urls"
WSGI_APPLICATION = None
ASGI_APPLICATION = "localai_project.asgi.application"
APPEND_SLASH = False
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = True
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGE_COOKIE_NAME = "language"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.github",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "django_tasks",
    "django_tasks_db",
    "accounts",
    "usage",
    "inference",
    "chat",
]
MIDDLEWARE = [
    "accounts.middleware.FrontMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "accounts.sessions.SignedSessionMiddleware",
    "accounts.middleware.GateMiddleware",
    "accounts.ui.language.LanguageMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.template_context.server",
                "accounts.template_context.frame",
                "inference.template_context.operations",
            ],
            "builtins": [
                "django.templatetags.i18n",
                "django.templatetags.static",
                "accounts.templatetags.ui",
            ],
        },
    }
]

# --- database ---------------------------------------------------------------------------------


def _postgresql(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    options = dict(pair.partition("=")[::2] for pair in parts.query.split("&") if pair)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or options.pop("host", "")),
        "PORT": str(parts.port or ""),
        "OPTIONS": {"connect_timeout": 10, **options},
    }


def _sqlite(path: str) -> dict[str, Any]:
    name = Path(path.removeprefix("sqlite://")) if path else GATEHOUSE.data_path / "database.db"
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": name,
        "TEST": {
            "NAME": GATEHOUSE.data_path / "test.db"
        },  # a file: threads share it as processes do
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


_url = GATEHOUSE.auth_database_url
DATABASES = {
    "default": _postgresql(_url) if _url.startswith(("postgres:", "postgresql:")) else _sqlite(_url)
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# --- accounts and sessions --------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = ["accounts.passwords.BoundedArgon2Hasher"]
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/app"
_https = GATEHOUSE.public_url.startswith("https:")
SESSION_ENGINE = "accounts.session_store"
SESSION_COOKIE_NAME = "session"
SESSION_COOKIE_AGE = 30 * 24 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = _https
CSRF_COOKIE_SECURE = _https
CSRF_COOKIE_HTTPONLY = True
CSRF_TRUSTED_ORIGINS = [GATEHOUSE.public_url]
CSRF_FAILURE_VIEW = "accounts.failures.csrf_failure"

# --- sign-in with providers: allauth does the handshake, accounts.social decides -----------------
ACCOUNT_ADAPTER = "accounts.social.adapters.AccountAdapter"
SOCIALACCOUNT_ADAPTER = "accounts.social.adapters.SocialAccountAdapter"
MFA_ADAPTER = "accounts.factors.adapter.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
MFA_TOTP_TOLERANCE = 1  # clocks differ; a step is used once whichever it is (S-34)
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not _https  # a browser allows http on localhost alone
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False  # never into an account by its address (C-18)
SOCIALACCOUNT_QUERY_EMAIL = True
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_REQUESTS_TIMEOUT = 5
OIDC_DRF_AUTH_BACKEND = "accounts.social.bearer.BearerBackend"
OIDC_CREATE_USER = False  # an access token makes nobody an account (S-27)

# --- mail, sent by the background process -------------------------------------------------------
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
_mail = urlsplit(GATEHOUSE.email_url)
EMAIL_FILE_PATH = _mail.path if _mail.scheme == "file" else str(GATEHOUSE.data_path / "mail")
EMAIL_BACKEND = "accounts.mail.private_files.PrivateFileBackend"
if _mail.scheme in {"smtp", "smtps"}:
    EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    EMAIL_HOST = _mail.hostname or ""
    EMAIL_PORT = _mail.port or (465 if _mail.scheme == "smtps" else 587)
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = (
        unquote(_mail.username or ""),
        unquote(_mail.password or ""),
    )
    EMAIL_USE_SSL = _mail.scheme == "smtps"
    EMAIL_USE_TLS = not EMAIL_USE_SSL and EMAIL_PORT == 587
EMAIL_TIMEOUT = 10
_host = urlsplit(GATEHOUSE.public_url).hostname or "localhost"
DEFAULT_FROM_EMAIL = GATEHOUSE.email_from or f"Gatehouse <gatehouse@{_host}>"
PASSWORD_RESET_TIMEOUT = 3600

# --- security headers beyond core.response_headers ---------------------------------------------
SECURE_SSL_REDIRECT = False  # the proxy in front ends TLS; see docs/operations.md
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = False
SECURE_REFERRER_POLICY = "strict-origin-when-cross-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "SAMEORIGIN"
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # subdomains are not ours to decide
    "security.W008",  # TLS ends in the proxy in front, which redirects
    "security.W019",  # SAMEORIGIN is the contract's (4.7)
    "security.W021",  # preload is the operator's to ask for
]
DATA_UPLOAD_MAX_MEMORY_SIZE = GATEHOUSE.upload_limit * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000

# --- static files -------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = collection_folder(BASE_DIR)
with suppress(OSError):  # a checkout that cannot be written serves the plain names
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "core.static_files.HashedStaticFiles"},
}
WHITENOISE_USE_FINDERS = not (STATIC_ROOT / COMPLETE).exists()

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],  # the gate's table decides, and nothing else
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "core.drf.JSONAlways",
    "EXCEPTION_HANDLER": "core.drf.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_SCHEMA_CLASS": "accounts.openapi.document.OperationSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Gatehouse API",
    "DESCRIPTION": "LocalAI's, OpenAI's and Anthropic's interfaces, with accounts in front of them. "
    "Errors carry the envelope of the family that was called. With LOCALAI_OPAQUE_ERRORS the bodies "
    "of 401, 403, 404 and 5xx are empty. A name with a slash goes into a path as it is, or as %2F.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "LICENSE": {"name": "MIT"},
    "DEFAULT_GENERATOR_CLASS": "accounts.openapi.document.Generator",
    "POSTPROCESSING_HOOKS": [],  # they name enums of serializers, which there are none of
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "Bearer": {"type": "http", "scheme": "bearer"},
            "ApiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            "Session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE_NAME},
        }
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "core.redaction.Redacting",
            "fmt": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        },
        "json": {"()": "core.json_lines.JsonLines"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "json" if GATEHOUSE.log_format == "json" else "line",
        }
    },
    "root": {"handlers": ["stderr"], "level": GATEHOUSE.log_level.upper()},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "django.security": {"level": "ERROR"},
        "django_tasks": {"level": "WARNING"},
        "django_tasks_db": {"level": "WARNING"},
    },
}
os.umask(0o077)  # what we write is ours alone: database, journal, logs, sockets
