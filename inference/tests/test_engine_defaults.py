"""What settings add to how an engine is started: `context_size`, `f16`, `threads`, `debug`."""

import os

import pytest

from accounts.runtime import stored_settings
from inference.engine_defaults import added_environment, options_in_force, threads_in_force
from inference.engine_rows import made_for
from inference.models import Model
from inference.recipes import engine_environment, of_machine, recipes
from inference.tests.fake_backend import line_of

URL = "/api/settings"


@pytest.fixture
def model(tmp_path, db):
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 2048}')
    made_for.cache_clear()
    return Model(name="m", directory=str(tmp_path))


@pytest.fixture
def given(as_alice):
    def post(**settings):
        assert as_alice.post(URL, settings).status_code == 200
        stored_settings().fresh()

    return post


@pytest.mark.parametrize(
    ("size", "own", "expected"),
    [(0, {}, None), (1024, {}, 1024), (8192, {}, 2048), (1024, {"max_model_len": 512}, 512)],
)
def test_set_context_size_is_for_models_that_say_nothing(model, given, size, own, expected):
    """SET:context_size."""
    given(context_size=size)
    model.options = own

    for recipe in (recipes()["vllm"], recipes()["vllm-cpu"]):
        assert options_in_force(model, recipe).get("max_model_len") == expected


def test_set_f16_is_for_graphics_cards_and_models_that_say_nothing(model, given):
    """SET:f16."""
    assert "dtype" not in options_in_force(model, recipes()["vllm"])
    given(f16=True)
    assert options_in_force(model, recipes()["vllm"])["dtype"] == "float16"
    assert "dtype" not in options_in_force(model, recipes()["vllm-cpu"])
    model.options = {"dtype": "bfloat16"}
    assert options_in_force(model, recipes()["vllm"])["dtype"] == "bfloat16"


def test_set_threads_bounds_the_processors_of_an_engine(given, tmp_path, db):
    """SET:threads."""
    recipe, name = recipes()["vllm-cpu"], "VLLM_CPU_OMP_THREADS_BIND"
    every = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))
    given(threads=0)

    def bound():
        values = of_machine(recipe, {}, threads=threads_in_force())
        return engine_environment(recipe, {}, tmp_path, values)[name]

    assert bound() == every
    given(threads=1)
    assert bound() == every.partition(",")[0]


def test_set_debug_makes_an_engine_tell_more(given, db):
    """SET:debug."""
    given(debug=False)
    assert added_environment() == {}
    given(debug=True)
    assert added_environment() == {"VLLM_LOGGING_LEVEL": "DEBUG"}


def test_what_the_settings_give_is_on_the_command_line(model, given, tmp_path):
    """SET:context_size."""
    given(context_size=1024)
    recipe = recipes()["vllm-cpu"]
    line = line_of(
        recipe,
        python=tmp_path,
        model=tmp_path,
        name="m",
        socket=tmp_path,
        options=options_in_force(model, recipe),
    )
    assert line[line.index("--max-model-len") + 1] == "1024"
