"""What the endpoints of engines, their logs, the machine and the server take and give (`core.declared`)."""

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from inference.api.answers import Bytes, PerCent
from inference.api.dialects import Prefer

__all__ = ["Prefer"]


class LogQuery(TypedDict):
    after: NotRequired[Annotated[int, Field(ge=0, le=999_999_999)]]


class SocketQuery(LogQuery):
    batch: NotRequired[Annotated[str, Field(description="1: several lines in a frame")]]


class LogLine(TypedDict):
    timestamp: str
    stream: Literal["stdout", "stderr"]
    text: str
    seq: int


class Gpu(TypedDict):
    index: int
    name: str
    vendor: str
    total_vram: Bytes
    used_vram: Bytes
    free_vram: Bytes
    usage_percent: PerCent


class Ram(TypedDict):
    total: Bytes
    used: Bytes
    free: Bytes
    available: Bytes
    usage_percent: PerCent


class Cpu(TypedDict):
    count: int
    usage_percent: PerCent
    load: list[float]


class Disk(TypedDict):
    holds: list[str]
    total: Bytes
    used: Bytes
    free: Bytes
    usage_percent: PerCent


class Aggregate(TypedDict):
    total_memory: Bytes
    used_memory: Bytes
    free_memory: Bytes
    usage_percent: PerCent
    gpu_count: int


class Resources(TypedDict):
    type: Literal["gpu", "ram"]
    available: bool
    gpus: NotRequired[list[Gpu]]
    ram: Ram
    cpu: Cpu
    disks: list[Disk]
    aggregate: Aggregate
    storage_size: Bytes
    reclaimer_enabled: bool
    reclaimer_threshold: float
    watchdog_interval: str


class LoadedModel(TypedDict):
    id: str
    backend: str


class System(TypedDict):
    backends: list[str]
    loaded_models: list[LoadedModel]


class MonitoredMemory(TypedDict):
    total: Bytes
    breakdown: dict[str, Bytes]


class Monitored(TypedDict):
    """1 busy, 2 ready, -1 error; left out while the engine starts."""

    state: NotRequired[Literal[1, 2, -1]]
    memory: MonitoredMemory


class NamedModel(TypedDict):
    model: NotRequired[Annotated[str, Field(max_length=255)]]


class Loaded(TypedDict):
    loaded: list[str]
    message: str


class EngineMemory(TypedDict):
    total: Bytes
    gpu: Bytes
    breakdown: dict[str, Bytes]


class EngineRow(TypedDict):
    """null is what an engine does not tell."""

    model: str
    backend: str
    state: str
    message: str
    host: str
    running: int | None
    waiting: int
    tokens_per_second: float | None
    kv_cache_usage: float | None
    memory: EngineMemory
    uptime_seconds: int | None
    restarts: int
    started_at: datetime | None
    next_try_at: datetime | None


class Engines(TypedDict):
    engines: list[EngineRow]


class FeatureRow(TypedDict):
    key: str
    label: str
    default: bool


class FeatureGroups(TypedDict):
    agent_features: list[FeatureRow]
    general_features: list[FeatureRow]
    api_features: list[FeatureRow]
    models: list[str]


class SetupStep(TypedDict):
    """`progress` in per cent."""

    name: str
    title: str
    state: Literal["done", "now", "waiting", "failed"]
    progress: Annotated[int, Field(ge=0, le=100)]
    message: str


class Ready(TypedDict):
    status: Literal["ready"]
    pending: list[SetupStep]


class Starting(TypedDict):
    status: Literal["starting"]
    reason: str


class Setup(TypedDict):
    """`done`: nothing is left to do."""

    done: bool
    steps: list[SetupStep]


class Version(TypedDict):
    version: Annotated[str, Field(examples=["v0.1.0 (gatehouse)"])]


class Built(TypedDict):
    """Which parts this server has; false is not built."""

    agents: bool
    mcp: bool
    fine_tuning: bool
    quantization: bool
    distributed: bool
    localai_assistant: bool


class Discovery(TypedDict):
    """Where things are, for programs that look for a server; `version` for callers that are known."""

    version: NotRequired[str]
    endpoints: dict[str, str]
    endpoint_groups: dict[str, dict[str, str]]
    capabilities: dict[str, Any]
