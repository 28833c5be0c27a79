"""What the endpoints of backends take and give, for the document (`core.declared`)."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from inference.api.answers import Id, PageFacts, Repository

Hardware = Annotated[str, Field(examples=["cpu"])]


class BackendRow(TypedDict):
    """A recipe that is offered; `allowed`: it may be installed here."""

    id: str
    name: str
    description: str
    icon: str
    license: str
    urls: list[str]
    tags: list[str]
    gallery: str
    installed: bool
    processing: bool
    jobID: str
    isDeletion: bool
    version: str
    installedVersion: str
    upgradeAvailable: bool
    isMeta: bool
    isAlias: bool
    isDevelopment: bool
    capabilities: dict[str, str]
    metaBackendFor: str
    nodes: list[str]
    hardware: list[Hardware]
    serves: list[str]
    fits: bool
    allowed: bool


class BackendPage(PageFacts, TypedDict):
    backends: list[BackendRow]
    processingBackends: dict[str, str]
    availableBackends: int
    installedBackends: int
    systemCapability: Literal["nvidia", "default"]
    preferDevelopmentBackends: bool


class ExternalBackend(TypedDict):
    """A recipe at an address that the environment names; `name` where its file has several."""

    uri: Annotated[str, Field(max_length=2000)]
    name: NotRequired[Annotated[str, Field(max_length=2000)] | None]
    alias: NotRequired[Annotated[str, Field(max_length=2000)] | None]


class Upgrade(TypedDict):
    backend_name: str
    installed_version: str
    available_version: str


class InstalledFacts(TypedDict):
    """Keys without a value are left out."""

    name: str
    version: NotRequired[str]
    alias: NotRequired[str]
    gallery_url: NotRequired[str]
    installed_at: NotRequired[str]
    uri: NotRequired[str]


class InstalledBackend(TypedDict):
    Name: str
    RunFile: str
    IsMeta: bool
    IsSystem: bool
    Metadata: InstalledFacts


class OfferedBackend(TypedDict):
    """A recipe of a gallery; keys without a value are left out."""

    name: str
    description: NotRequired[str]
    license: NotRequired[str]
    version: NotRequired[str]
    icon: NotRequired[str]
    urls: NotRequired[list[str]]
    uri: NotRequired[str]
    sha256: NotRequired[str]
    tags: NotRequired[list[str]]
    capabilities: NotRequired[dict[str, str]]
    gallery: Repository
    installed: NotRequired[bool]


class ApplyBackend(TypedDict):
    """`force` is taken and means nothing."""

    id: Annotated[str, Field(max_length=2000, examples=["gatehouse@vllm-cpu"])]
    force: NotRequired[bool]


class AppliedBackend(TypedDict):
    """The operation, and where to ask about it."""

    id: Id
    status_url: str
