"""What the endpoints of usage take and answer with, for the document (`core.declared`)."""

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from accounts.api.answers import Caller, ModelList, Permission, Role
from core.declared import shape
from core.principal import Source

Count = Annotated[int, Field(ge=0)]
Cost = Annotated[int, Field(description="In 10⁻⁹ of the currency.")]
Share = Annotated[float, Field(ge=0, le=1)]
Decimal = Annotated[str, Field(description="A decimal number.", examples=["0.15"])]
BUCKETS = Literal["hour", "day", "month", "none"]


_WINDOW = {
    "period": NotRequired[Literal["day", "week", "month", "all"]],
    "from": NotRequired[Annotated[str, Field(description="RFC 3339; with `to`, not `period`")]],
    "to": NotRequired[str],
    "bucket": NotRequired[BUCKETS],
}
_OWN = {
    **_WINDOW,
    "api_key_id": NotRequired[str],
    "source": NotRequired[str],
    "model": NotRequired[str],
}
_ORDERED = {
    "group_by": NotRequired[
        Annotated[
            str,
            Field(
                description="Comma list of user, key, source, model, served_model, endpoint",
                examples=["model,key"],
            ),
        ]
    ],
    "order": NotRequired[Literal["tokens", "requests", "errors", "cost"]],
    "limit": NotRequired[Annotated[int, Field(ge=1, le=200_000)]],
}
_OF_SOMEBODY: dict[str, Any] = {"user_id": NotRequired[str]}
_AS_FILE: dict[str, Any] = {"format": NotRequired[Literal["csv", "jsonl"]]}
# Queries: of the caller's own, and of everybody's.
OwnReport = shape("OwnReport", {**_OWN, **_ORDERED})
AnyReport = shape("AnyReport", {**_OWN, **_ORDERED, **_OF_SOMEBODY})
OwnSources = shape("OwnSources", _OWN)
AnySources = shape("AnySources", {**_OWN, **_OF_SOMEBODY})
OwnLatency = shape("OwnLatency", {**_WINDOW, "api_key_id": NotRequired[str]})
AnyLatency = shape("AnyLatency", {**_WINDOW, "model": NotRequired[str]})
OwnExport = shape("OwnExport", {**_OWN, **_AS_FILE})
AnyExport = shape("AnyExport", {**_OWN, **_AS_FILE, **_OF_SOMEBODY})


class PeopleQuery(TypedDict):
    limit: NotRequired[Annotated[int, Field(ge=1, le=1000)]]
    offset: NotRequired[Annotated[int, Field(ge=0, le=10_000_000)]]


class QuotaStatus(TypedDict):
    """A rule, and what its window holds now. A maximum of null: no limit; null of the rest: unknown.

    `resets_at`: when the next call is let through. `requests_reset_at`, `tokens_reset_at`: when the
    window is empty if nothing more is used, as the `x-ratelimit-reset-*` headers say it.
    """

    id: str
    model: str
    api_key_id: str | None
    max_requests: int | None
    max_total_tokens: int | None
    max_cost: int | None
    max_concurrent: int | None
    window: str
    current_requests: int | None
    current_total_tokens: int | None
    current_cost: int | None
    current_concurrent: int | None
    limited_by: str | None
    resets_at: datetime | None
    requests_reset_at: datetime | None
    tokens_reset_at: datetime | None


class Quotas(TypedDict):
    quotas: list[QuotaStatus]


Maximum = Annotated[int, Field(ge=0, le=2**53 - 1)] | None


class QuotaRuleGiven(TypedDict):
    """Null or missing: no limit. 0 blocks everything."""

    window: Annotated[str, Field(min_length=1, max_length=64, examples=["1h", "30d", "90m"])]
    model: NotRequired[Annotated[str, Field(max_length=255)] | None]
    api_key_id: NotRequired[Annotated[str, Field(max_length=36)] | None]
    max_requests: NotRequired[Maximum]
    max_total_tokens: NotRequired[Maximum]
    max_cost: NotRequired[Maximum]
    max_concurrent: NotRequired[Annotated[int, Field(ge=0, le=100_000)] | None]


class QuotaSaved(TypedDict):
    message: str
    quota: QuotaStatus


class Me(Caller):
    quotas: list[QuotaStatus]


class ListedUser(TypedDict):
    id: str
    email: str
    name: str
    role: Role
    avatarUrl: str
    status: Literal["active", "pending", "disabled"]
    provider: str
    createdAt: datetime
    lastSeen: datetime | None
    permissions: Permission
    allowed_models: ModelList
    quotas: NotRequired[list[QuotaStatus]]


class ListedUsers(TypedDict):
    users: list[ListedUser]


class Counts(TypedDict):
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    request_count: Count
    error_count: Count
    cached_tokens: Count
    cost: Cost


class UsageRow(Counts):
    """A bucket and the groups that were asked for."""

    bucket: NotRequired[str]
    model: NotRequired[str]
    served_model: NotRequired[str]
    endpoint: NotRequired[str]
    source: NotRequired[Source]
    user_id: NotRequired[str]
    user_name: NotRequired[str]
    api_key_id: NotRequired[str]
    api_key_name: NotRequired[str]


_WHEN = {"from": datetime | None, "to": datetime, "as_of": datetime}
_Report = {"usage": list[UsageRow], "totals": Counts, "currency": str, **_WHEN}
UsageReport = shape("UsageReport", _Report)


class Viewer(TypedDict):
    id: str
    name: str
    role: Role
    provider: str


LocalUsageReport = shape("LocalUsageReport", {**_Report, "viewer": Viewer})


class Brief(TypedDict):
    tokens: Count
    requests: Count
    error_count: Count
    cost: Cost


class KeySum(Brief):
    api_key_id: str
    api_key_name: str | None
    user_id: str
    user_name: str
    last_used: datetime | None


class UserSourceSum(Brief):
    source: Source
    user_id: str
    user_name: str


class SourceTotals(TypedDict):
    by_source: dict[str, Brief]
    by_key: list[KeySum]
    grand_total: Brief
    by_user_source: NotRequired[list[UserSourceSum]]


SourcesReport = shape(
    "SourcesReport",
    {"buckets": list[UsageRow], "totals": SourceTotals, "truncated": bool, **_WHEN},
)


class Percentiles(TypedDict):
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


class LatencyRow(TypedDict):
    bucket: NotRequired[str]
    model: str
    request_count: Count
    error_count: Count
    error_rate: Share
    statuses: dict[str, Count]
    duration_ms: Percentiles
    first_token_ms: Percentiles


LatencyReport = shape("LatencyReport", {"latency": list[LatencyRow], **_WHEN})


class PriceShown(TypedDict):
    """For a million tokens, and for one unit."""

    id: str
    model: str
    valid_from: datetime
    prompt: Decimal
    cached_prompt: Decimal
    completion: Decimal
    unit: Decimal


class Prices(TypedDict):
    prices: list[PriceShown]
    currency: str


Amount = str | float | int


class NewPrice(TypedDict):
    model: Annotated[str, Field(min_length=1, max_length=255)]
    prompt: NotRequired[Amount | None]
    cached_prompt: NotRequired[Amount | None]
    completion: NotRequired[Amount | None]
    unit: NotRequired[Amount | None]
    valid_from: NotRequired[Annotated[str, Field(max_length=64)] | None]


class PriceSaved(TypedDict):
    message: str
    price: PriceShown


class JournalState(TypedDict):
    """`records` are those that the latest comparison looked at."""

    bytes: Count
    segments: Count
    oldest_seconds: Annotated[float, Field(ge=0)]
    rejected_bytes: Count
    records: Count | None


class RollupSums(TypedDict):
    hours: Count
    days: Count


class BooksFinding(TypedDict):
    """One comparison that found a difference: the sums of each source, or the journal's records.

    `hours`: those of a day (UTC, from 0) in which events and sums differ.
    """

    what: str
    difference: Count
    sums: NotRequired[dict[str, dict[str, int]]]
    hours: NotRequired[list[Annotated[int, Field(ge=0, le=23)]]]
    records: NotRequired[Count]
    missing: NotRequired[Count]


class Accounting(TypedDict):
    """null before the first comparison. A `difference` that is not 0 is a fault."""

    journal: JournalState
    events: Count | None
    rollups: RollupSums | None
    difference: Count | None
    findings: list[BooksFinding]
    checked_at: datetime | None
    days: Count
    events_kept_seconds: Count | None
