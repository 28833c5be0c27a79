"""Where collected static files lie: a folder named by the state of its sources. Read by the settings."""

import hashlib
from importlib import metadata
from pathlib import Path

COMPLETE = "complete"  # the last file that a collection writes


def collection_folder(checkout: Path) -> Path:
    """Where the collection of the sources as they are now lies, or will."""
    state = hashlib.sha256()
    for package in ("django", "drf-spectacular-sidecar", "whitenoise"):
        state.update(metadata.version(package).encode())
    static = checkout / "static"
    for path in sorted(each for each in static.rglob("*") if each.is_file()):
        stat = path.stat()
        state.update(f"{path.relative_to(static)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return checkout / "staticfiles" / state.hexdigest()[:16]
