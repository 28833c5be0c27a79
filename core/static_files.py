"""Static files under names that hold their content, compressed once: made at start, used if there.

`manage.py serve` calls `collect_once` before the web processes start. What it makes lies in a folder
named by the state of its sources, so that a change of a file is never hidden by an older collection.
Where nothing was collected (tests, a read-only checkout) the plain names are served from `static/`.
"""

import fcntl
import shutil
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from whitenoise.storage import CompressedManifestStaticFilesStorage

from core.static_collection import COMPLETE

KEPT = 3
# Nobody asks for these: DRF's browsable API is off, and source maps are for their authors.
_LEFT_OUT = ["rest_framework", "redoc*", "*.map", "*.d.ts"]


def is_collected() -> bool:
    return (Path(settings.STATIC_ROOT) / COMPLETE).exists()


def collect_once() -> bool:
    """Collect unless that was done; False where the folder cannot be written."""
    folder = Path(settings.STATIC_ROOT)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_collected():
                call_command(
                    "collectstatic", interactive=False, verbosity=0, ignore_patterns=_LEFT_OUT
                )
                (folder / COMPLETE).touch()
                _forget_older(folder)
    except OSError:
        return False
    return True


def _forget_older(current: Path) -> None:
    """Keep the last few: a server that runs still serves from an older one."""
    others = [each for each in current.parent.iterdir() if each.is_dir() and each != current]
    others.sort(key=lambda each: each.stat().st_mtime, reverse=True)
    for folder in others[KEPT - 1 :]:
        shutil.rmtree(folder, ignore_errors=True)


class HashedStaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # untyped
    """Hashed names where there is a collection, the plain ones where there is none.

    Addresses are rewritten in all style sheets, and in our own modules (`js/`) in `import … from
    "./x.js";`, `export … from`, `import "./x.js";` and `import("./x.js")`. Scripts of others stay as
    they are, so that their checksums do.
    """

    patterns = (
        (
            "*.css",
            (
                r"""(?P<matched>url\(['"]{0,1}\s*(?P<url>.*?)["']{0,1}\))""",
                (
                    r"""(?P<matched>@import\s*["']\s*(?P<url>.*?)["'])""",
                    """@import url("%(url)s")""",
                ),
            ),
        ),
        ("js/*.js", CompressedManifestStaticFilesStorage._js_module_import_aggregation_patterns[1]),  # noqa: SLF001
    )

    def stored_name(self, name: str) -> str:
        clean: str = self.clean_name(name)
        found: str = self.hashed_files.get(self.hash_key(clean), clean)
        return found
