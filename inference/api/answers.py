"""What the endpoints of models and operations take and give, for the document (`core.declared`)."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from core.declared import shape
from inference.api.dialects import Prefer
from inference.gallery_listing import MAX_ITEMS, MAX_PAGE, SORTS
from inference.gallery_schema import Checked, File, Overrides

Bytes = Annotated[int, Field(ge=0)]
PerCent = Annotated[float, Field(ge=0)]
Id = Annotated[str, Field(description="The operation's.")]
__all__ = ["Prefer"]


class Success(TypedDict):
    success: Literal[True]
    message: str


class Started(TypedDict):
    jobID: Id
    message: str


class Applied(TypedDict):
    """The operation, and where to ask about it."""

    uuid: Id
    status: str


class OperationRow(TypedDict):
    id: str
    name: str
    fullName: str
    jobID: Id
    progress: Annotated[int, Field(ge=0, le=100)]
    taskType: str
    isDeletion: bool
    isBackend: bool
    isQueued: bool
    isCancelled: bool
    cancellable: bool
    message: str
    askedBy: str
    error: NotRequired[str]
    phase: NotRequired[str]
    currentBytes: NotRequired[Bytes]
    totalBytes: NotRequired[Bytes]
    eta: NotRequired[Annotated[int, Field(description="Seconds to go.")]]


class Operations(TypedDict):
    operations: list[OperationRow]


class Job(TypedDict):
    """What a page polls; an unknown id counts as queued."""

    progress: float
    message: str
    galleryElementName: str
    processed: bool
    deletion: bool
    queued: bool
    error: NotRequired[str]
    completed: NotRequired[Literal[True]]


class JobStatus(TypedDict):
    deletion: bool
    file_name: str
    error: str | None
    processed: bool
    message: str
    progress: float
    file_size: str
    downloaded_size: str
    gallery_element_name: str
    cancelled: bool
    cancellable: bool
    phase: NotRequired[str]
    current_bytes: NotRequired[Bytes]
    total_bytes: NotRequired[Bytes]


class JobDetails(JobStatus):
    log_tail: list[str]


class Repository(TypedDict):
    url: str
    name: str


class RepositoryState(Repository):
    error: NotRequired[str]


class EntryFile(TypedDict):
    filename: str
    sha256: str
    uri: str


class GalleryRow(TypedDict):
    id: str
    name: str
    description: str
    icon: str
    icon_source: str
    license: str
    urls: list[str]
    tags: list[str]
    gallery: str
    installed: bool
    processing: bool
    jobID: str
    isDeletion: bool
    trustRemoteCode: bool
    additionalFiles: list[EntryFile]
    backend: str
    backendInstalled: bool
    capabilities: list[str]
    fits: bool | None
    checked: Checked | None
    size_on_disk: NotRequired[Bytes]
    size_on_disk_display: NotRequired[str]
    estimated_size_bytes: NotRequired[Bytes]
    estimated_size_display: NotRequired[str]
    estimated_vram_bytes: NotRequired[Bytes]
    estimated_vram_display: NotRequired[str]


class PageFacts(TypedDict):
    """What every page of a gallery says besides its entries."""

    repositories: list[Repository]
    allTags: list[str]
    taskTypes: dict[str, str]
    ramTotal: Bytes
    ramUsed: Bytes
    ramUsagePercent: PerCent
    currentPage: int
    totalPages: int
    prevPage: int
    nextPage: int
    galleryErrors: list[str]


class GalleryPage(PageFacts):
    models: list[GalleryRow]
    allBackends: list[str]
    processingModels: dict[str, str]
    availableModels: int
    installedModels: int


class GalleryQuery(TypedDict):
    term: NotRequired[Annotated[str, Field(max_length=200)]]
    tag: NotRequired[Annotated[str, Field(description="A comma list; all have to be met.")]]
    backend: NotRequired[str]
    fits: NotRequired[Literal["true", "false"]]
    sort: NotRequired[Literal[SORTS]]  # type: ignore[valid-type]  # one list for both
    order: NotRequired[Literal["asc", "desc"]]
    page: NotRequired[Annotated[int, Field(ge=1, le=MAX_PAGE)]]
    items: NotRequired[Annotated[int, Field(ge=1, le=MAX_ITEMS)]]


Once = shape(
    "Once",
    {
        "Idempotency-Key": NotRequired[
            Annotated[str, Field(description="The same one within 24 h: the same job (R-35)")]
        ]
    },
)


class Apply(TypedDict):
    """An entry of a gallery by `id`, or another model by `url` or `files`."""

    id: NotRequired[Annotated[str, Field(max_length=2000, examples=["gatehouse@all-minilm-l6-v2"])]]
    url: NotRequired[Annotated[str, Field(max_length=2000)]]
    name: NotRequired[Annotated[str, Field(max_length=2000)]]
    files: NotRequired[list[File] | None]
    description: NotRequired[str | None]
    license: NotRequired[str | None]
    icon: NotRequired[str | None]
    urls: NotRequired[list[str] | None]
    tags: NotRequired[list[str] | None]
    backend: NotRequired[str | None]
    overrides: NotRequired[Overrides | None]


class Available(TypedDict):
    """An entry of a gallery; keys without a value are left out."""

    name: str
    description: NotRequired[str]
    license: NotRequired[str]
    urls: NotRequired[list[str]]
    icon: NotRequired[str]
    icon_source: NotRequired[str]
    tags: NotRequired[list[str]]
    files: NotRequired[list[EntryFile]]
    size: NotRequired[str]
    gallery: Repository
    installed: NotRequired[bool]
    backend: NotRequired[str]
