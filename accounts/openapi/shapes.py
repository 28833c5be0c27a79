"""Shapes (`TypedDict`s and the like) as JSON schemas, the named ones as components."""

import inspect
from typing import Any

from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

Schema = dict[str, Any]
_REF = "#/components/schemas/{model}"


class _Plain(GenerateJsonSchema):
    """Without a title on every field, which repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema_of(shape: Any, registry: ComponentRegistry) -> Schema:
    """The schema of `shape`; what has a name goes into `registry` and is referred to.

    Raises ValueError where two shapes that differ have one name.
    """
    if inspect.isfunction(shape):
        shape = shape()
    found, whole = TypeAdapter.json_schemas(
        [("it", "validation", TypeAdapter(shape))], ref_template=_REF, schema_generator=_Plain
    )
    for name, each in whole.get("$defs", {}).items():
        _keep(name, each, registry)
    schema: Schema = dict(found["it", "validation"])
    schema.pop("title", None)
    return schema


def _keep(name: str, schema: Schema, registry: ComponentRegistry) -> None:
    schema.pop("title", None)
    component = ResolvedComponent(name, ResolvedComponent.SCHEMA, schema, name)
    if component in registry:
        if registry[component].schema != schema:
            raise ValueError(f"two shapes are called {name}")
        return
    registry.register(component)


def fields_of(shape: Any, registry: ComponentRegistry) -> list[tuple[str, Schema, bool]]:
    """(name, schema, whether it has to be there) of each field of a TypedDict."""
    generated = TypeAdapter(shape).json_schema(ref_template=_REF, schema_generator=_Plain)
    for name, schema in generated.pop("$defs", {}).items():
        _keep(name, schema, registry)
    needed = generated.get("required", [])
    return [(name, each, name in needed) for name, each in generated["properties"].items()]
