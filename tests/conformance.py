"""Whether an answer is one that the OpenAPI document tells of: status, media type, every field.

With GATEHOUSE_CHECK_ANSWERS set, as `make test-full` does, every answer to the tests' own client
(`tests.people.Api`) is looked at.
"""

from functools import cache
from typing import Any

import jsonschema_rs
from django.urls import Resolver404, resolve

from accounts.openapi import document as documents
from core.declared import declaration_of


@cache
def _document() -> dict[str, Any]:
    """The document, but objects of ours take no field that is not declared."""
    from accounts.api import answers as of_accounts
    from inference.api import answers as of_inference
    from usage.api import shapes as of_usage
    from usage.api import trace_shapes as of_traces

    modules = (of_accounts, of_inference, of_usage, of_traces)
    document = documents.make()
    for name, schema in document["components"]["schemas"].items():
        is_ours = any(hasattr(module, name) for module in modules)
        if is_ours and "properties" in schema:
            schema["additionalProperties"] = False
    return document


@cache
def _validator(template: str, method: str, status: str) -> Any:
    response = _response(template, method, status)
    if response is None:
        return None
    body = response.get("content", {}).get("application/json")
    if body is None:
        return False
    whole = {**body["schema"], "components": _document()["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def _response(template: str, method: str, status: str) -> dict[str, Any] | None:
    found = _document()["paths"][template][method]["responses"].get(status)
    if found is not None and "$ref" in found:
        found = _document()["components"]["responses"][found["$ref"].rpartition("/")[2]]
    return found


def unlike(method: str, path: str, response: Any) -> str:
    """How `response` differs from the document; empty where it does not, or where there is none."""
    try:
        match = resolve(path.partition("?")[0])
    except Resolver404:
        return ""
    view = getattr(match.func, "cls", None)
    name = "get" if method == "HEAD" else method.lower()
    declared = declaration_of(view, name) if view else declaration_of(match.func)
    if declared is None:
        return ""
    template = documents.path_of(next(p for p in _patterns() if str(p.pattern) == match.route))
    if name not in _document()["paths"][template]:
        return ""
    status, where = str(response.status_code), f"{method} {template}"
    validator = _validator(template, name, status)
    kind = response.headers.get("content-type", "").partition(";")[0]
    if validator is None:
        return f"{where}: {status} is not declared"
    kinds = (_response(template, name, status) or {}).get("content", {})
    if kind and kinds and kind not in kinds:
        return f"{where}: {status} as {kind} is not declared"
    if validator is False or kind != "application/json" or not getattr(response, "content", b""):
        return ""
    faults = [
        f"{error.instance_path}: {error.message[:200]}"
        for error in validator.iter_errors(response.json())
    ]
    return f"{where}: {status}: {'; '.join(faults[:3])}" if faults else ""


@cache
def _patterns() -> list[Any]:
    from django.urls import URLPattern, get_resolver

    return [each for each in get_resolver().url_patterns if isinstance(each, URLPattern)]
