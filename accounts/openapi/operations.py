"""One operation of the document: from a route, its line in the gate's table and its declaration."""

import inspect
import re
from typing import Any

from django.urls import URLPattern
from drf_spectacular.drainage import warn
from drf_spectacular.plumbing import ComponentRegistry

from accounts.gate import requirement_for
from accounts.openapi.refusals import response_of, statuses_of
from accounts.openapi.shapes import Schema, fields_of, schema_of
from core.declared import JSON, Content, Declaration
from core.envelopes import Family

_FORMATS = {"uuid": {"type": "string", "format": "uuid"}, "int": {"type": "integer", "minimum": 0}}
_TEXT = {"type": "string", "minLength": 1}
_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")
_CREDENTIALS: list[dict[str, list[str]]] = [{"Bearer": []}, {"ApiKey": []}, {"Session": []}]
_WORDS = {  # where the module's own name would not tell a reader
    "accounts.social.views": "sign-in",
    "chat.api.messages": "chats",
    "entry": "sign-in",
    "mailed": "sign-in",
    "factors": "second factors",
    "admin": "people",
    "people": "people",
    "account": "account",
    "views": "inference",
    "reports": "usage",
    "exports": "usage",
    "machine": "engines",
    "logs": "engines",
    "health": "server",
    "metrics": "server",
    "openapi": "server",
    "books": "server",
    "accounts": "people",
}
NOTHING_DECLARED = "declares neither what it takes nor what it gives (core/declared.py)"


def path_of(pattern: URLPattern) -> str:
    """`api/users/<uuid:user_id>` as `/api/users/{user_id}`."""
    return "/" + _PARAMETER.sub(r"{\2}", str(pattern.pattern))


def operation_of(
    pattern: URLPattern,
    method: str,
    view: Any,
    declaration: Declaration | None,
    registry: ComponentRegistry,
) -> Schema:
    """The operation of `method` on `pattern`; `view` is a class, or a function."""
    name = pattern.name or ""
    if declaration is None:
        warn(f"{view.__module__}.{view.__qualname__}: {method} {NOTHING_DECLARED}")
        declaration = Declaration(name)
    requirement = requirement_for(name, method) or "nobody"
    family: Family = getattr(view, "family", "openai")
    answers = {declaration.status: declaration.answer, **declaration.more}
    responses = {
        str(status): _answer(status, shape, declaration, registry)
        for status, shape in sorted(answers.items())
    }
    for status in statuses_of(name, method, requirement, declaration.errors):
        responses.setdefault(str(status), response_of(status, family, registry))
    operation: Schema = {
        "operationId": _operation_id(method, path_of(pattern)),
        "summary": declaration.summary,
        "description": declaration.description or inspect.getdoc(view) or "",
        "tags": [_tag(view)],
        "parameters": [*_path(pattern), *_given(declaration, registry)],
        "security": _security(requirement),
        "responses": responses,
        "x-requirement": requirement,
    }
    if declaration.body is not None:
        operation["requestBody"] = _body(declaration, registry)
    return operation


def _operation_id(method: str, path: str) -> str:
    words = re.sub(r"\W+", "_", path).strip("_")
    return f"{method.lower()}_{words or 'root'}"


def _tag(view: Any) -> str:
    whole: str = view.__module__
    module = whole.rpartition(".")[2]
    return _WORDS.get(whole) or _WORDS.get(module) or module.replace("_", " ")


def _security(requirement: str) -> list[dict[str, list[str]]]:
    if requirement == "public":
        return []
    if requirement.removeprefix("duty:") == "session":
        return [{"Session": []}]
    return _CREDENTIALS


def _path(pattern: URLPattern) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _FORMATS.get(kind, _TEXT)}
        for kind, name in _PARAMETER.findall(str(pattern.pattern))
    ]


def _given(declaration: Declaration, registry: ComponentRegistry) -> list[Schema]:
    """Parameters of the query and headers."""
    return [
        {"name": name, "in": place, "required": needed, "schema": schema}
        for place, shape in (("query", declaration.query), ("header", declaration.headers))
        if shape is not None
        for name, schema, needed in fields_of(shape, registry)
    ]


def _body(declaration: Declaration, registry: ComponentRegistry) -> Schema:
    body, example = declaration.body, declaration.body_example
    contents = body if isinstance(body, list) else [Content(JSON, body, example)]
    kept = {each.media_type: _content(each, registry) for each in contents}
    required = any(_has_to_be_there(each["schema"], registry) for each in kept.values())
    return {"required": required, "content": kept}


def _content(content: Content, registry: ComponentRegistry) -> Schema:
    kept: Schema = {"schema": schema_of(content.shape, registry)}
    if content.example is not None:
        kept["examples"] = {"example": {"value": content.example}}
    return kept


def _has_to_be_there(schema: Schema, registry: ComponentRegistry) -> bool:
    """An absent body is `{}` (G-02), which does where no field is required."""
    name = schema.get("$ref", "").rpartition("/")[2]
    whole = registry[(name, "schemas")].schema if name else schema
    return bool(whole.get("required") or whole.get("anyOf"))


def _answer(
    status: int, shape: Any, declaration: Declaration, registry: ComponentRegistry
) -> Schema:
    example = declaration.example if status == declaration.status else None
    response: Schema = {"description": _description(status, shape)}
    contents = shape if isinstance(shape, list) else [shape]
    for each in contents:
        if each is None:
            continue
        content = each if isinstance(each, Content) else Content(JSON, each, example)
        response.setdefault("content", {})[content.media_type] = _content(content, registry)
    return response


def _description(status: int, shape: Any) -> str:
    if status in {301, 302}:
        return "Elsewhere: see the Location header."
    if status == 101:
        return "The WebSocket is open."
    return "Nothing in the body." if shape is None else "What was asked for."
