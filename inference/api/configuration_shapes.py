"""What the endpoints of models' configurations take and answer with, for the document (`core.declared`)."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from core.declared import JSON, Content, Declaration, shape
from inference.api import answers
from inference.gallery_schema import Capability, File

Option = str | int | float | bool
News = Literal["unchanged", "restarting", "unloading", "next load"]
_NEWS: dict[str, Any] = {
    "engine": Annotated[News, Field(description="What becomes of its engine.")],
    "engine_state": NotRequired[Annotated[str, Field(description="With `Prefer: wait=N`.")]],
}
_CHOICES: dict[str, Any] = {
    "description": str,
    "aliases": list[str],
    "backend": str,
    "options": dict[str, Option],
    "capabilities": list[Capability],
    "replicas": Annotated[int, Field(ge=1, le=64)],
    "pinned": bool,
    "default": bool,
    "enabled": bool,
    "idle_timeout": Annotated[int | str | None, Field(description="Seconds, or `15m`.")],
}
_FACTS: dict[str, Any] = {"name": str, "source": str, "checksum": str}
_OPTIONAL = {name: NotRequired[kind] for name, kind in _CHOICES.items()}
_NULLABLE = {name: NotRequired[kind | None] for name, kind in _CHOICES.items()}
ModelConfiguration = shape("ModelConfiguration", {**_FACTS, **_CHOICES})
ChangedConfiguration = shape("ChangedConfiguration", {**_FACTS, **_CHOICES, **_NEWS})
ConfigurationPatch = shape("ConfigurationPatch", {**_NULLABLE}, closed=True)
WholeConfiguration = shape(
    "WholeConfiguration",
    {**{name: NotRequired[kind] for name, kind in _FACTS.items()}, **_OPTIONAL},
    closed=True,
)
ImportedConfiguration = shape(
    "ImportedConfiguration",
    {"name": str, "source": NotRequired[str], "files": NotRequired[list[File]], **_OPTIONAL},
    closed=True,
)
Saved = shape("ConfigurationSaved", {"message": str, **_NEWS})
Done = shape(
    "ConfigurationChanged", {"success": Literal[True], "message": str, "name": str, **_NEWS}
)


class EditableConfiguration(TypedDict):
    config: Annotated[str, Field(description="YAML.")]
    name: str


class Reloaded(TypedDict):
    success: Literal[True]
    message: str
    changed: list[str]


class Imported(answers.Applied):
    success: Literal[True]
    message: str


class Preferences(TypedDict):
    name: NotRequired[str]
    backend: NotRequired[str]


class ImportUri(TypedDict):
    uri: Annotated[str, Field(min_length=1, examples=["hf:Qwen/Qwen3-0.6B"])]
    preferences: NotRequired[Preferences]


class Alias(TypedDict):
    name: str
    model: str


class Aliases(TypedDict):
    aliases: list[Alias]


class OptionMetadata(TypedDict):
    type: str
    default: Any
    help: str


Metadata = shape(
    "ConfigurationMetadata",
    {
        "schema": Annotated[dict[str, Any], Field(description="JSON Schema.")],
        "read_only": list[str],
        "options": Annotated[
            dict[str, dict[str, OptionMetadata]], Field(description="By backend and name.")
        ],
    },
)
_YAML_EXAMPLE = "aliases: [gpt-4o]\nreplicas: 2\n"
_WHOLE: Any = [
    Content(JSON, WholeConfiguration, {"aliases": ["gpt-4o"], "replicas": 2}),
    Content("application/yaml", str, _YAML_EXAMPLE),
]
_CHANGE: dict[str, Any] = {"headers": answers.Prefer, "errors": (404, 409)}

READ = Declaration("A model's configuration", answer=ModelConfiguration, errors=(404,))
PATCH = Declaration(
    "Change a model's configuration",
    body=ConfigurationPatch,
    body_example={"options": {"max_model_len": 2048}, "pinned": True},
    answer=ChangedConfiguration,
    **_CHANGE,
)
EDIT = Declaration("The same as YAML", answer=EditableConfiguration, errors=(404,))
SAVE = Declaration("Replace a model's configuration", body=_WHOLE, answer=Saved, **_CHANGE)
SAVE_EDITED = Declaration("Replace it, by the editor", body=_WHOLE, answer=Done, **_CHANGE)
TOGGLE_STATE = Declaration("Enable or disable a model", answer=Done, **_CHANGE)
TOGGLE_PINNED = Declaration("Pin or unpin a model", answer=Done, **_CHANGE)
RELOAD = Declaration("Take over what was changed in files", answer=Reloaded, errors=(409,))
IMPORT = Declaration(
    "Import a model",
    body=[
        Content(JSON, ImportedConfiguration, {"name": "mine", "aliases": ["gpt-4o"]}),
        Content("application/yaml", str, "name: mine\naliases: [gpt-4o]\n"),
    ],
    headers=answers.Once,
    answer=Imported,
    errors=(409,),
)
IMPORT_URI = Declaration(
    "Import a model by its address",
    body=ImportUri,
    body_example={"uri": "hf:Qwen/Qwen3-0.6B", "preferences": {"name": "little"}},
    headers=answers.Once,
    answer=answers.Applied,
    errors=(404, 409),
)
ALIASES = Declaration("Which other names there are", answer=Aliases)
METADATA = Declaration("What may be configured", answer=Metadata)
