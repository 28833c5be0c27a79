"""What several modules here need: a worker's parts under quotas, a place for models, a bad server."""

import hashlib
import time

import pytest

from accounts.runtime import env
from core import fetcher as fetcher_module
from core.gallery_list import GalleryAt
from core.tests.hostile_server import Hostile
from inference import (
    backend_work,
    backends_here,
    fetched_galleries,
    model_install,
    operation_work,
)
from inference.tests.offered_backends import GALLERY
from inference.tests.rig import Rig
from tests.stub_backend import Index
from usage.quotas.limiter import Limiter, Terms
from usage.quotas.local_counters import LocalCounters


@pytest.fixture
async def make_limited(tmp_path, stub):
    made = []

    def rig(*rules, tariff=None, away="refuse", counters=None):
        one = Rig(tmp_path / "journal", stub.url, context_length=2000)
        counters = counters or LocalCounters(tmp_path / "quotas")
        for rule in rules:
            counters.fill(rule, [], time.time())
        one.counters = counters
        one.runtime.limiter = Limiter(counters, away=away, spawn=one.runtime.spawn)
        one.runtime.limiter.terms = Terms(rules, tariff)
        made.append(one)
        return one

    yield rig
    for one in made:
        await one.runtime.finish()


@pytest.fixture
def server():
    """A server on loopback that answers as it is told."""
    one = Hostile()
    yield one
    one.close()


@pytest.fixture
def home(settings, tmp_path, server, monkeypatch):
    """An empty models path, with `server` as the hub and the one address inside that is let through."""
    monkeypatch.setattr(fetcher_module, "PAUSE_S", 0.01)
    monkeypatch.setattr(model_install, "MAX_BYTES", 16 * 1024 * 1024)
    monkeypatch.setattr(operation_work, "value", lambda _name: False)  # no backend comes with it
    changed = {
        "models_path": tmp_path / "models",
        "backends_path": tmp_path / "backends",
        "fetch_allow": ["127.0.0.1/32"],
        "hf_endpoint": server.url,
        "galleries": None,
    }
    (tmp_path / "models").mkdir()
    settings.GATEHOUSE = env().model_copy(update=changed)
    return tmp_path / "models"


@pytest.fixture
def own_backends(settings, tmp_path, monkeypatch):
    """Three recipes in a `file://` gallery that the environment lets in, and an empty backends path."""
    file = tmp_path / "own.yaml"
    file.write_text(GALLERY)
    digest = hashlib.sha256(GALLERY.encode()).hexdigest()
    changed = {
        "backend_galleries": [GalleryAt(name="own", url=f"file://{file}")],
        "external_backends": {f"file://{file}": frozenset({digest})},
        "backends_path": tmp_path / "backends",
        "data_path": tmp_path / "data",
        "fetch_allow": ["127.0.0.0/8"],
    }
    settings.GATEHOUSE = env().model_copy(update=changed)
    monkeypatch.setattr(backends_here, "REMEMBERED_S", 0)
    fetched_galleries._failed.clear()
    return tmp_path


@pytest.fixture
def index(monkeypatch):
    one = Index("1.0", "2.0")
    for name, value in one.for_pip.items():
        monkeypatch.setenv(name, value)
    yield one
    one.close()


@pytest.fixture
def offer(home, settings, tmp_path, monkeypatch):
    """Recipes in a gallery of ours, let in by the environment."""
    monkeypatch.setattr(backends_here, "REMEMBERED_S", 0)
    monkeypatch.setattr(backend_work, "QUIET_S", 0.1)

    def use(*texts):
        file = tmp_path / "own.yaml"
        file.write_text("".join(texts))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        uri = f"file://{file}"
        changed = {
            "backend_galleries": [GalleryAt(name="own", url=uri)],
            "external_backends": {uri: frozenset({digest})},
        }
        settings.GATEHOUSE = env().model_copy(update=changed)

    return use


@pytest.fixture
def own(settings, tmp_path):
    """The gallery of models is one of the test's own, named `own`."""
    from inference.tests.test_gallery_api import GALLERY as MODELS

    (tmp_path / "own.yaml").write_text(MODELS)
    listed = [GalleryAt(name="own", url=f"file://{tmp_path}/own.yaml")]
    settings.GATEHOUSE = env().model_copy(
        update={"galleries": listed, "data_path": tmp_path / "data"}
    )
    return tmp_path
