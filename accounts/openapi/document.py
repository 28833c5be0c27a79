"""The whole document: every route but pages, the admin site and static files; made once a process."""

import hashlib
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import orjson
from django.urls import URLPattern, get_resolver
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry

from accounts.gate import methods_of
from accounts.openapi.operations import operation_of, path_of
from accounts.openapi.shapes import Schema
from core.declared import declaration_of

_making = threading.Lock()


class OperationSchema(AutoSchema):
    """drf-spectacular's view of a class: it walks the routes, we say what stands there."""

    def get_operation(
        self,
        path: str,
        path_regex: str,
        path_prefix: str,
        method: str,
        registry: ComponentRegistry,
    ) -> Schema | None:
        pattern = _patterns()[path_regex]
        view = type(self.view)
        return operation_of(pattern, method, view, declaration_of(view, method), registry)


class Generator(SchemaGenerator):
    """drf-spectacular's generator, and the routes whose views are functions beside it."""

    def parse(self, input_request: Any, public: bool) -> dict[str, Any]:  # noqa: FBT001  # its signature
        paths: dict[str, Any] = super().parse(input_request, public)  # type: ignore[no-untyped-call]  # as it is
        for pattern in functions():
            view = pattern.callback
            for method in methods_of(pattern.name or ""):
                operation = operation_of(pattern, method, view, declaration_of(view), self.registry)
                paths.setdefault(path_of(pattern), {})[method.lower()] = operation
        return dict(sorted(paths.items()))


def _patterns() -> dict[str, URLPattern]:
    found = get_resolver().url_patterns
    return {str(each.pattern): each for each in found if isinstance(each, URLPattern)}


def functions() -> Iterator[URLPattern]:
    """Routes with a plain function that is no page, or a page that the contract counts as an endpoint."""
    for pattern in _patterns().values():
        view = pattern.callback
        if hasattr(view, "cls") or hasattr(
            view, "view_class"
        ):  # DRF's are walked; ours are redirects
            continue
        if declaration_of(view) is not None or not getattr(view, "is_page", False):
            yield pattern


def make() -> dict[str, Any]:
    """The document anew."""
    generator: Any = Generator
    found: dict[str, Any] = generator().get_schema(request=None, public=True)
    return found


@cache
def _made() -> tuple[bytes, str]:
    body = orjson.dumps(make())
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def document() -> tuple[bytes, str]:
    """The document as JSON, and its ETag; made by whoever asks first while others wait."""
    with _making:
        return _made()
