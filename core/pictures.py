"""Pictures from elsewhere, kept here and served by us (surface, R-38): raster images only, within bounds."""

import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 512 * 1024
MAX_SIDE = 4096  # a few bytes can say a picture that no browser has the memory for
_NAME = re.compile(r"[0-9a-f]{64}")
KINDS = {"png": "image/png", "jpg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
_FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: its content type, of a fixed list, and its bytes."""

    content_type: str
    content: bytes


def name_of(url: str) -> str:
    """What the picture at `url` is called here."""
    return hashlib.sha256(url.encode()).hexdigest()


def kind_of(content: bytes) -> str | None:
    """Which of the four raster formats it begins as; None for anything else, SVG among them."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return None


def sides_of(kind: str, content: bytes) -> tuple[int, int]:
    """Width and height as its head says them; 0 where it does not."""
    if kind == "png":
        return _big(content[16:20]), _big(content[20:24])
    if kind == "gif":
        return _little(content[6:8]), _little(content[8:10])
    if kind == "jpg":
        return _sides_of_jpeg(content)
    if content[12:16] == b"VP8X":
        return _little(content[24:27]) + 1, _little(content[27:30]) + 1
    if content[12:16] == b"VP8L":
        bits = _little(content[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return _little(content[26:28]) & 0x3FFF, _little(content[28:30]) & 0x3FFF


def _sides_of_jpeg(content: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # filling
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return _big(content[at + 7 : at + 9]), _big(content[at + 5 : at + 7])
        else:
            at += 2 + _big(content[at + 2 : at + 4])
    return 0, 0


def _big(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _little(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


class Pictures:
    """The pictures in one folder, by the name of their address. A failure leaves a mark, too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> Picture | None:
        """The picture of that name, which may be any text."""
        if not _NAME.fullmatch(name):
            return None
        for kind, content_type in KINDS.items():
            try:
                return Picture(content_type, (self._folder / f"{name}.{kind}").read_bytes())
            except FileNotFoundError:
                continue
        return None

    def has(self, name: str) -> bool:
        """Whether the picture of that name is here."""
        return any((self._folder / f"{name}.{kind}").exists() for kind in KINDS)

    def names(self) -> set[str]:
        """Which there are: one look at the folder."""
        return {path.stem for path in self._files() if path.suffix != f".{_FAILED}"}

    def keep(self, url: str, content: bytes) -> None:
        """Raises ValueError for what is no picture that is taken."""
        kind = kind_of(content)
        if kind is None or len(content) > MAX_BYTES:
            raise ValueError("not a PNG, JPEG, GIF or WebP picture")
        if max(sides_of(kind, content)) > MAX_SIDE:
            raise ValueError(f"more than {MAX_SIDE} pixels wide or high")
        self._write(f"{name_of(url)}.{kind}", content)
        (self._folder / f"{name_of(url)}.{_FAILED}").unlink(missing_ok=True)

    def fail(self, url: str) -> None:
        """It could not be had: nobody asks again for a while."""
        self._write(f"{name_of(url)}.{_FAILED}", b"")

    def is_due(self, url: str, *, again_after_s: float) -> bool:
        """Whether to fetch it: it is not here, and did not fail just now."""
        name = name_of(url)
        if self.has(name):
            return False
        try:
            failed_at = (self._folder / f"{name}.{_FAILED}").stat().st_mtime
        except FileNotFoundError:
            return True
        return time.time() - failed_at >= again_after_s

    def forget_but(self, urls: set[str], *, older_than_s: float, most: int) -> None:
        """Remove pictures, marks and drafts of addresses that nobody names any more: the old ones,
        and all but the newest `most`, for people may name another every minute.
        """
        kept = {name_of(url) for url in urls}
        unnamed = [(path.stat().st_mtime, path) for path in self._files() if path.stem not in kept]
        for i, (made_at, path) in enumerate(sorted(unnamed, reverse=True)):
            if i >= most or time.time() - made_at >= older_than_s:
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        try:
            return list(self._folder.iterdir())
        except FileNotFoundError:
            return []

    def _write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._folder / f".{secrets.token_hex(8)}"
        draft.write_bytes(content)
        draft.replace(self._folder / name)
