"""`/swagger/doc.json` (R-26, C-04): every route, what the gate's table says of it, and its errors (R-18)."""

import re
from typing import Any

import pytest
from django.urls import get_resolver, path
from drf_spectacular.drainage import GENERATOR_STATS
from openapi_spec_validator import validate

from accounts.gate import GATE, close_to_admins, methods_of, requirement_for
from accounts.openapi import document as documents
from accounts.openapi.operations import NOTHING_DECLARED
from accounts.tests.test_gate import methods_of_view, routes, view_of
from core.declared import Declaration, declaration_of, declares
from core.envelopes import envelope
from core.errors import InvalidRequestError

LANE_AND_ALL = 100  # routes, at the least
FREE = {  # JSON that is somebody else's to define, by component or field
    "credential",
    "publicKey",
    "before",
    "after",
    "environment",
    "capabilities",
    "info",
    "paths",
    "components",
    "input",
    "schema",
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return documents.make()


def is_endpoint(name, pattern):
    """Neither the admin site, nor a page (but the two that the contract counts), nor a redirect to one."""
    view = view_of(pattern)
    if name.startswith("admin") or getattr(view, "__name__", "") == "RedirectView":
        return False
    is_page = getattr(pattern.callback, "is_page", False)
    return not is_page or name.startswith("auth-social-")


def endpoints(patterns=None):
    """(path as the document writes it, method, name, pattern) of every endpoint, on a way of our own."""
    for name, pattern in routes(patterns or get_resolver().url_patterns):
        if is_endpoint(name, pattern):
            template = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern))
            for method in sorted(methods_of_view(pattern) or methods_of(name)):
                yield template, method, name, pattern


def undeclared(patterns=None):
    missing = []
    for _template, method, _name, pattern in endpoints(patterns):
        view = getattr(pattern.callback, "cls", None)
        found = declaration_of(view, method) if view else declaration_of(pattern.callback)
        if found is None:
            who = view or pattern.callback
            missing.append(f"{who.__module__}.{who.__qualname__}.{method.lower()}")
    return sorted(set(missing))


def test_r18_every_view_declares_what_it_takes_and_gives():
    assert undeclared() == [], NOTHING_DECLARED


def test_r18_a_view_that_declares_nothing_is_named():
    def bare(request):
        raise NotImplementedError

    found = undeclared([*get_resolver().url_patterns, path("new", bare, name="metrics")])

    assert found == [f"{__name__}.{bare.__qualname__}.get"]


def test_r26_every_route_is_in_the_document_with_its_methods(document):
    wanted = {(template, method.lower()) for template, method, *_ in endpoints()}
    found = {(template, method) for template, each in document["paths"].items() for method in each}

    assert found == wanted
    assert len(wanted) > LANE_AND_ALL
    assert not [
        template for template in document["paths"] if template.startswith(("/app", "/admin"))
    ]


def test_r26_the_document_is_valid_openapi_3_1_without_a_warning():
    GENERATOR_STATS.reset()
    document = documents.make()

    validate(document)
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"] == "Gatehouse API"
    assert not GENERATOR_STATS


def test_r18_each_operation_mirrors_its_line_of_the_gate(document):
    for template, method, name, _pattern in endpoints():
        operation, line = document["paths"][template][method.lower()], requirement_for(name, method)
        where = f"{method} {template}"
        assert operation["x-requirement"] == line, where
        names = {scheme for each in operation["security"] for scheme in each}
        if line == "public":
            assert names == set(), where
        elif line.endswith("session"):
            assert names == {"Session"}, where
            assert {"401", "403"} <= set(operation["responses"]), where
        else:
            assert names == {"Bearer", "ApiKey", "Session"}, where
            assert "401" in operation["responses"], where
        if line == "admin" or line.startswith(("account", "feature:")):
            assert "403" in operation["responses"], where
        if line.startswith("feature:"):
            assert {"404", "429", "502", "503", "504"} <= set(operation["responses"]), where
        assert {"400", "500"} <= set(operation["responses"]), where


def test_c03_a_line_that_is_closed_to_admins_is_so_in_the_document(monkeypatch):
    monkeypatch.setattr("accounts.gate.GATE", dict(GATE))
    close_to_admins("metrics")

    assert documents.make()["paths"]["/metrics"]["get"]["x-requirement"] == "admin"


def test_r18_sign_in_declares_its_limit_and_a_family_its_own_envelope(document):
    sign_in = document["paths"]["/api/auth/login"]["post"]["responses"]
    messages = document["paths"]["/v1/messages"]["post"]["responses"]

    assert sign_in["429"] == {"$ref": "#/components/responses/TooManyFlat"}
    assert messages["429"] == {"$ref": "#/components/responses/TooManyAnthropic"}
    refused = document["components"]["responses"]["BadRequestAnthropic"]["content"]
    example = refused["application/json"]["examples"]["anthropic"]["value"]
    assert example == envelope(InvalidRequestError(), "anthropic")


def test_r18_lists_and_objects_are_declared_with_their_fields(document):
    vague = []
    for template, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                body = response.get("content", {}).get("application/json")
                if body is not None:
                    here = f"{method} {template} {status}"
                    vague += [f"{here}: {each}" for each in _vague(body["schema"], document, "")]
    assert not vague, sorted(set(vague))


def _vague(schema, document, name, seen=()):
    """Where below an answer's schema something is a list of anything, or an object of anything."""
    if ref := schema.get("$ref"):
        component = ref.rpartition("/")[2]
        if component in seen:
            return
        yield from _vague(
            document["components"]["schemas"][component], document, component, (*seen, component)
        )
        return
    for each in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
        yield from _vague(each, document, name, seen)
    for field, each in schema.get("properties", {}).items():
        if field not in FREE:
            yield from _vague(each, document, f"{name}.{field}", seen)
    kind = schema.get("type")
    if kind == "array" and not schema.get("items"):
        yield name
    elif kind == "array":
        yield from _vague(schema["items"], document, name, seen)
    elif kind == "object" and "properties" not in schema:
        inner = schema.get("additionalProperties")
        if not isinstance(inner, dict):
            yield name
        else:
            yield from _vague(inner, document, name, seen)


def test_shapes_that_differ_may_not_share_a_name():
    from drf_spectacular.plumbing import ComponentRegistry
    from typing_extensions import TypedDict

    from accounts.openapi.shapes import schema_of

    registry = ComponentRegistry()
    schema_of(TypedDict("Same", {"a": int}), registry)
    schema_of(TypedDict("Same", {"a": int}), registry)

    with pytest.raises(ValueError, match="Same"):
        schema_of(TypedDict("Same", {"b": int}), registry)


def test_a_declaration_stays_at_its_method():
    @declares("Nothing", answer=None)
    def view(request):
        return None

    assert declaration_of(view) == Declaration("Nothing")


def test_r26_the_document_is_the_same_for_everybody_and_is_not_sent_twice(
    db, as_alice, as_bob, anonymous, django_assert_num_queries
):
    answers = [api.get("/swagger/doc.json") for api in (as_alice, as_bob, anonymous)]

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["etag"] for answer in answers}) == 1
    assert answers[0].headers["content-type"] == "application/json"
    etag = answers[0].headers["etag"]
    with django_assert_num_queries(0):
        again = anonymous.get("/swagger/doc.json", If_None_Match=etag)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = anonymous.get("/swagger/doc.json", If_None_Match='"other"')
    assert other.status_code == 200


def test_c04_swagger_is_public_and_all_of_it_is_served_from_here(anonymous):
    """GET /swagger/*: the page, its scripts and its style, under the policy of every other page."""
    page = anonymous.get("/swagger/index.html")
    moved = anonymous.get("/swagger")

    text = page.content.decode()
    assert page.status_code == 200
    assert (moved.status_code, moved.headers["location"]) == (302, "/swagger/index.html")
    assert "unsafe" not in page.headers["content-security-policy"]
    linked = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(linked) == 5
    for address in linked:
        assert address.startswith("/"), address
        if address.startswith("/static/"):
            served = anonymous.get(address)
            served.close()
            assert served.status_code == 200, address
    assert re.findall(r"<script(?![^>]*src=)|<style|\son\w+=|style=", text) == []


def test_c04_swagger_needs_no_account_and_posts_are_refused(anonymous):
    assert anonymous("POST", "/swagger/doc.json", {}).status_code in {401, 405}
