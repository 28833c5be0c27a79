"""What an engine takes, in which memory, and what of it is free (R-31)."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from accounts.runtime import stored_settings
from inference import memory_need
from inference.engine_limits import limits_in_force
from inference.memory_need import GIB, PROCESSES, needed_bytes
from inference.models import EngineState, Model
from inference.recipes import Option, engine_environment
from inference.replicas import Replicas
from inference.room import RAM, Room
from inference.tests.fake_backend import backend

database = pytest.mark.django_db(transaction=True)


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1000)
    (tmp_path / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    memory_need.folder_bytes.cache_clear()
    return Model(name="m", directory=str(tmp_path))


def cpu(**options):
    made = backend()
    more = {"environment": {"VLLM_CPU_KVCACHE_SPACE": "2"}, "options": options}
    return type(made)(**{name: getattr(made, name) for name in made.__slots__} | more)


def test_r31_before_the_first_load_it_is_weights_cache_and_processes(model, monkeypatch):
    dtype = Option("string", "--dtype", "", "auto")
    size = memory_need.folder_bytes(model.directory)
    monkeypatch.setattr(memory_need, "cpu_dtype", lambda: "float32")
    assert needed_bytes(model, cpu(dtype=dtype), card_total=None) == 2 * size + 2 * GIB + PROCESSES
    model.options = {"dtype": "bfloat16"}
    assert needed_bytes(model, cpu(dtype=dtype), card_total=None) == size + 2 * GIB + PROCESSES


def test_r31_on_a_card_it_is_the_share_that_vllm_takes(model):
    share = Option("number", "--gpu-memory-utilization", "", 0.4)
    assert needed_bytes(model, cpu(gpu_memory_utilization=share), card_total=1000) == 400
    model.options = {"gpu_memory_utilization": 0.9}
    assert needed_bytes(model, cpu(gpu_memory_utilization=share), card_total=1000) == 900
    model.options = {}
    assert needed_bytes(model, cpu(), card_total=1000) > GIB
    model.memory_bytes = 5
    assert needed_bytes(model, cpu(), card_total=1000) == 5


class Fake:
    """The engines of a model, as far as the room asks them."""

    is_held = is_leaving = False

    def __init__(self, need, *, on_card=True):
        self.model = SimpleNamespace(pinned=False)
        runner = SimpleNamespace(on_card=on_card, pool=None, card=None, takes_memory=False)
        runner.needed_bytes = lambda _total: need
        self.runners = self.everyone = [runner]

    @property
    def is_loaded(self):
        return any(runner.takes_memory for runner in self.runners)


def test_r31_each_accelerator_has_a_budget_and_the_emptiest_takes_the_next():
    """SET:vram_budget."""
    models = {name: Fake(60) for name in "abcd"}
    room = Room(models, totals=lambda: {RAM: 1000, 0: 100, 1: 200})
    room.limits = type(room.limits)(vram_budget="90%")

    cards = []
    for each in models.values():
        (runner,) = each.runners
        runner.takes_memory = room.admits(runner)
        cards.append(runner.card if runner.takes_memory else "no room")

    assert cards == [1, 1, 0, 1]
    assert not room.admits(Fake(60).runners[0])


def test_r31_on_one_card_nothing_is_chosen_and_without_a_card_the_ram_counts():
    one = Room({}, totals=lambda: {RAM: 1000, 0: 100})
    one.limits = type(one.limits)(vram_budget="50%", ram_budget="10%")
    small, large = Fake(50).runners[0], Fake(51).runners[0]
    assert (one.admits(small), small.pool, small.card) == (True, 0, None)
    assert not one.admits(large)

    none = Room({}, totals=lambda: {RAM: 1000})
    none.limits = one.limits
    assert not none.admits(Fake(101).runners[0])
    assert none.admits(Fake(100).runners[0])


def test_r31_without_a_budget_engines_still_go_to_different_cards():
    models = {name: Fake(60) for name in "abc"}
    room = Room(models, totals=lambda: {RAM: 1000, 0: 100, 1: 100})
    for each in models.values():
        each.runners[0].takes_memory = room.admits(each.runners[0])

    assert [each.runners[0].card for each in models.values()] == [0, 1, 0]


@pytest.mark.parametrize("on_card", [True, False])
def test_r31_a_budget_that_is_set_counts_what_was_loaded_before(on_card):
    """SET:vram_budget."""
    models = {name: Fake(60, on_card=on_card) for name in "ab"}
    room = Room(models, totals=lambda: {RAM: 100, 0: 100})
    first, second = (each.runners[0] for each in models.values())
    first.takes_memory = room.admits(first)

    room.limits = type(room.limits)(vram_budget="100%", ram_budget="100%")

    assert not room.admits(second)


@database
def test_r31_the_most_that_was_measured_counts_while_a_cache_fills_again(tmp_path, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"data_path": tmp_path})
    row = Model.objects.create(name="m", backend="fake", directory=str(tmp_path), memory_bytes=900)
    with ThreadPoolExecutor(1) as probes:
        engines = Replicas(row, backend(), probes)
        (runner,) = engines.runners
        runner._state, runner.started_with = EngineState.READY, row.options
        runner.footprint.look = lambda *_: None

        for measured, known in ((300, 900), (1200, 1200), (1100, 1200)):
            runner.footprint.bytes = measured
            engines.measure(0.0)
            assert runner.needed_bytes(None) == known
            assert Model.objects.get().memory_bytes == known


@database
def test_set_vram_budget_is_in_force_unless_the_environment_has_one(as_alice, settings):
    """SET:vram_budget."""
    stored_settings().fresh()
    assert limits_in_force().vram_budget == ""
    assert as_alice.post("/api/settings", {"vram_budget": "80%"}).status_code == 200
    stored_settings().fresh()
    assert (limits_in_force().vram_budget, limits_in_force().measures) == ("80%", True)

    fixed = {**dict(settings.GATEHOUSE), "vram_budget": "12GB"}
    settings.GATEHOUSE = type(settings.GATEHOUSE).model_construct(
        _fields_set={"vram_budget"}, **fixed
    )
    assert limits_in_force().vram_budget == "12GB"
    assert as_alice.get("/api/settings").json()["vram_budget"] == "12GB"
    assert as_alice.post("/api/settings", {"vram_budget": "1GB"}).status_code == 400


def test_a_card_is_named_by_its_place_on_the_bus(tmp_path):
    found = engine_environment(backend(), {"CUDA_HOME": "/x"}, tmp_path, card=1)

    assert found["CUDA_VISIBLE_DEVICES"] == "1"
    assert found["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
