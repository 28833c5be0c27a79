"""Whatever a configuration holds, the answer is a clear 4xx or a change that can be read back."""

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.model_configuration import Configuration, ConfigurationFaultError, as_yaml, read
from inference.models import Model
from inference.tests.configured import make, yaml_to

QUIET = settings(
    max_examples=120,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ODD = st.sampled_from(
    ["\x85", "\u2028", "\ufeff", "\x9f", "a\n b\n", "  x  ", "- a", "a #b", "1:30", "~", "<<"]
)
TEXT = st.text(max_size=20) | ODD
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*Configuration.model_fields, "files", "size"]) | TEXT


def is_fine(answer):
    assert answer.status_code in {200, 400, 409, 413}, (answer.status_code, answer.content)
    assert isinstance(answer.json(), dict)


@pytest.mark.django_db
@pytest.mark.parametrize("backend", ["vllm-cpu", "of-somebody"])
def test_family_9_no_json_is_a_fault_of_ours(as_alice, home, backend):
    make(home, backend=backend)

    @QUIET
    @given(st.dictionaries(KEYS, VALUES, max_size=4))
    def every(body):
        try:
            raw = orjson.dumps(body)
        except (TypeError, orjson.JSONEncodeError):  # no such JSON
            return
        is_fine(as_alice("PATCH", "/api/models/config-json/little", raw))
        is_fine(as_alice.post("/api/models/config/little", raw))
        is_fine(as_alice.post("/models/import", raw))
        is_fine(
            as_alice.post("/models/import-uri", {"uri": body.get("source"), "preferences": body})
        )

    every()
    assert as_alice.get("/api/models/config-json/little").status_code == 200


@pytest.mark.django_db
def test_family_9_no_yaml_is_a_fault_of_ours(as_alice, home):
    make(home)
    pieces = [
        "name: little",
        "aliases: [a]",
        "options: {dtype: x}",
        "{",
        "- a",
        "&a",
        "*a",
        "!!x",
        "\t",
        "? a",
        ": ",
        "\x00",
        "é",
        "---",
    ]

    @QUIET
    @given(st.lists(st.sampled_from(pieces) | TEXT, max_size=5))
    def every(lines):
        text = "\n".join(lines).encode("utf-8", "replace")
        is_fine(yaml_to(as_alice, "/models/edit/little", text))
        is_fine(yaml_to(as_alice, "/models/import", text))

    every()


@pytest.mark.django_db
def test_r19_whatever_is_taken_is_written_so_that_it_is_read_back(home):
    make(home)

    @QUIET
    @given(
        st.dictionaries(TEXT, st.booleans() | st.integers() | st.floats() | TEXT, max_size=3), TEXT
    )
    def every(options, description):
        try:
            found = Configuration.model_validate(
                {"name": "little", "backend": "of-somebody", "options": options}
                | {"description": description, "aliases": ["yes", "1e3", "0x10", "null", "a:b"]}
            )
        except ValueError:
            return
        assert read(as_yaml(found)) == found

    every()
    with pytest.raises(ConfigurationFaultError):
        read("name: little\nbackend: ''")
    assert Model.objects.count() == 1
