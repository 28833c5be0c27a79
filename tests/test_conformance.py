"""R-18: holding answers against the document finds what is not in it."""

from types import SimpleNamespace

import orjson
import pytest

from accounts.openapi import document as documents
from tests.conformance import unlike

MINE = {"valid": True}


def answer(body, status=200, kind="application/json"):
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return SimpleNamespace(
        status_code=status,
        headers={"content-type": kind},
        content=raw,
        json=lambda: orjson.loads(raw),
    )


PATH = "/api/auth/invite/abc/check"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (answer(MINE), ""),
        (answer({"valid": "yes"}), "not of type"),
        (answer({}), "required"),
        (answer({**MINE, "more": 1}), "Additional properties"),
        (answer(MINE, status=418), "418 is not declared"),
        (answer(b"<html>", kind="text/html"), "text/html is not declared"),
        (answer({"error": "no"}, status=400), ""),
        (answer({"fault": "no"}, status=400), "not valid"),
    ],
)
def test_r18_an_answer_is_held_against_its_declaration(given, words):
    found = unlike("GET", PATH, given)

    assert words in found
    assert bool(found) == bool(words)


def test_r18_what_declares_nothing_is_not_looked_at():
    assert unlike("GET", "/app", answer(b"<html>", kind="text/html")) == ""
    assert unlike("GET", "/nowhere/at/all", answer({}, status=404)) == ""
    assert unlike("PATCH", PATH, answer({}, status=405)) == ""
    assert unlike("POST", "/metrics", answer({}, status=405)) == ""


def test_r18_every_example_is_one():
    """What the document shows as an example is what it says."""
    import jsonschema_rs

    document = documents.make()
    faults = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            contents = [operation.get("requestBody", {}).get("content", {})]
            contents += [each.get("content", {}) for each in operation["responses"].values()]
            for content in contents:
                faults += _faults(f"{method} {path}", content, document, jsonschema_rs)
    for name, response in document["components"]["responses"].items():
        faults += _faults(name, response["content"], document, jsonschema_rs)
    assert not faults, "\n".join(faults)


def _faults(where, content, document, jsonschema_rs):
    for kind, body in content.items():
        whole = {**body["schema"], "components": document["components"]}
        for example in body.get("examples", {}).values():
            validator = jsonschema_rs.Draft202012Validator(whole)
            yield from (
                f"{where} {kind}: {error.message}"
                for error in validator.iter_errors(example["value"])
            )
