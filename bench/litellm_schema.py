"""LiteLLM's tables and a spend log's content, by its wheel: read at run time.

The wheel is fetched once from PyPI into `.bench/litellm-wheel/` and only read, never installed or
imported. From `litellm/proxy/schema.prisma` come the tables; from `litellm/proxy/_types.py` the
columns of a spend log and the keys of its metadata; from `litellm/utils.py` the keys of the price
record that LiteLLM writes into the metadata of each request. So none of them is kept here by hand.

The translation leaves out foreign keys only: the columns that have one stay NULL in this bench, so
PostgreSQL would check none of them.
"""

import ast
import datetime as dt
import functools
import hashlib
import json
import re
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERSION = "1.105.0"
FOLDER = Path(__file__).resolve().parent.parent / ".bench" / "litellm-wheel"
SCHEMA = "litellm/proxy/schema.prisma"
TYPES = "litellm/proxy/_types.py"
PRICES = "litellm/utils.py"
DOWNLOAD_TIMEOUT_S = 120
SCALARS = {
    "String": "text",
    "Int": "integer",
    "BigInt": "bigint",
    "Float": "double precision",
    "Boolean": "boolean",
    "DateTime": "timestamp(3)",
    "Json": "jsonb",
}
LOG, USAGE, GATEWAY = "LiteLLM_SpendLogs", "LiteLLM_DailyModelUsage", "LiteLLM_DailyGatewayRequests"
USER, KEY, TAG = "LiteLLM_UserTable", "LiteLLM_VerificationToken", "LiteLLM_TagTable"
DAILY_USER, DAILY_TEAM = "LiteLLM_DailyUserSpend", "LiteLLM_DailyTeamSpend"
DAILY_TAG = "LiteLLM_DailyTagSpend"
DAILY = {DAILY_USER: "user_id", DAILY_TEAM: "team_id", DAILY_TAG: "tag"}
TABLES = (LOG, USAGE, GATEWAY, USER, KEY, TAG, *DAILY)
ENDPOINT = "/chat/completions"
UTC_NOW = "(now() AT TIME ZONE 'UTC')"
UNIQUE = ("date", "api_key", "model", "custom_llm_provider", "mcp_namespaced_tool_name", "endpoint")
COUNTERS = (
    "prompt_tokens",
    "completion_tokens",
    "api_requests",
    "successful_requests",
    "failed_requests",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "compression_saved_tokens",
    "total_response_time_ms",
    "timed_requests",
)
AMOUNTS = (
    "spend",
    "compression_savings_spend",
    "prompt_caching_savings_spend",
    "gateway_injected_caching_savings_spend",
    "autorouter_savings_spend",
)
PROVIDER = "hosted_vllm"
AGENTS = ("OpenAI/Python 2.8.1", "AsyncOpenAI/Python 2.8.1", "python-requests/2.32.5", "curl/8.5.0")
OPENAI_PARAMETERS = (
    "frequency_penalty logit_bias logprobs top_logprobs max_tokens max_completion_tokens modalities "
    "prediction n presence_penalty seed stop stream stream_options temperature top_p tools tool_choice "
    "function_call functions max_retries extra_headers parallel_tool_calls audio web_search_options "
    "service_tier safety_identifier prompt_cache_key prompt_cache_retention store response_format "
    "reasoning_effort thinking"
)
FIELD = re.compile(r"^(?P<name>\w+)\s+(?P<type>\w+)(?P<many>\[\])?(?P<optional>\?)?(?P<rest>.*)$")
DEFAULT = re.compile(r"@default\s*\(\s*(?P<value>now\(\)|uuid\(\)|[^()]*)\s*\)")
KEYS = re.compile(r"^@@(?P<kind>id|unique|index)\(\[(?P<columns>[^\]]*)\]")


@functools.cache
def wheel() -> Path:
    """The wheel's path, downloaded first if it is not there.

    Raises CalledProcessError or TimeoutExpired where PyPI cannot be reached.
    """
    if not (found := sorted(FOLDER.glob(f"litellm-{VERSION}-*.whl"))):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(FOLDER)]
        command += ["--only-binary", ":all:", f"litellm=={VERSION}"]
        subprocess.run(command, check=True, capture_output=True, timeout=DOWNLOAD_TIMEOUT_S)
        found = sorted(FOLDER.glob(f"litellm-{VERSION}-*.whl"))
    return found[0]


@functools.cache
def source(path: str) -> str:
    """The text of one file of the wheel."""
    with zipfile.ZipFile(wheel()) as archive:
        return archive.read(path).decode()


def _block(model: str) -> list[str]:
    """The lines between the braces of a model, without comments."""
    found = re.search(
        rf"^model {model}\s*\{{.*?\n(.*?)^\}}", source(SCHEMA), re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise LookupError(f"{model} is not in {SCHEMA} of litellm {VERSION}")
    lines = (line.partition("//")[0].strip() for line in found[1].splitlines())
    return [line for line in lines if line]


def _default(rest: str) -> str:
    """The DEFAULT clause; a uuid is made by the client, so it has none in the table."""
    found = DEFAULT.search(rest)
    if found is None or found["value"] == "uuid()":
        return ""
    value = found["value"]
    special = {"now()": "CURRENT_TIMESTAMP", "[]": "'{}'"}
    return f" DEFAULT {special.get(value) or value.replace(chr(34), chr(39))}"


def _column(field: re.Match[str]) -> str:
    name, rest = field["name"], field["rest"]
    kind = SCALARS[field["type"]] + ("[]" if field["many"] else "")
    required = "" if field["many"] or field["optional"] else " NOT NULL"
    key = " PRIMARY KEY" if re.search(r"@id\b", rest) else ""
    unique = " UNIQUE" if re.search(r"@unique\b", rest) else ""
    return f'"{name}" {kind}{required}{_default(rest)}{key}{unique}'


def _fields(model: str) -> list[re.Match[str]]:
    """The lines that are columns; a relation, whose type is another model, is none."""
    fields = []
    for line in _block(model):
        if line.startswith("@@"):
            continue
        field = FIELD.match(line)
        renamed = re.search(r'@map\("(\w+)"\)', line)
        if field is None or (renamed is not None and renamed[1] != field["name"]):
            raise ValueError(f"{model}: {line}")
        if field["type"] in SCALARS:
            fields.append(field)
        elif not field["type"].startswith("LiteLLM_"):
            raise ValueError(f"{model}: {line}")
    return fields


def columns(model: str) -> list[str]:
    """The column names of a table, in the schema's order."""
    return [field["name"] for field in _fields(model)]


def ddl(model: str) -> list[str]:
    """The statements that make the table of `model` with its keys and indexes.

    Raises LookupError where the schema has no such model, ValueError for a block attribute or a
    line that this translator does not know: a new schema must not lose an index in silence.
    """
    parts, indexes = [_column(field) for field in _fields(model)], []
    for line in _block(model):
        if not line.startswith("@@"):
            continue
        found = KEYS.match(line)
        if found is None:
            raise ValueError(f"{model}: {line}")
        names = ", ".join(f'"{name.strip()}"' for name in found["columns"].split(","))
        if found["kind"] == "id":
            parts.append(f"PRIMARY KEY ({names})")
        else:
            unique = "UNIQUE " if found["kind"] == "unique" else ""
            indexes.append(f'CREATE {unique}INDEX ON "{model}" ({names})')
    return [f'CREATE TABLE "{model}" ({", ".join(parts)})', *indexes]


@functools.cache
def record_fields(name: str) -> tuple[str, ...]:
    """The keys of a typed dictionary of `litellm/proxy/_types.py`."""
    classes = (each for each in ast.parse(source(TYPES)).body if isinstance(each, ast.ClassDef))
    body = next(each.body for each in classes if each.name == name)
    return tuple(ast.unparse(each.target) for each in body if isinstance(each, ast.AnnAssign))


@functools.cache
def price_fields() -> tuple[str, ...]:
    """The keys of the price record: those of the fullest `ModelInfoBase(…)` call in utils.py."""
    calls = [
        [keyword.arg for keyword in node.keywords if keyword.arg is not None]
        for node in ast.walk(ast.parse(source(PRICES)))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "ModelInfoBase"
    ]
    fullest = max(calls, key=len)
    return tuple(fullest)


@dataclass(frozen=True)
class Event:
    """One answered chat request: who asked which model, and what it used."""

    at: dt.datetime
    key: int
    user: int
    model: int
    prompt: int
    completion: int
    ms: int

    @property
    def spend(self) -> float:
        return (self.prompt * 2 + self.completion * 6) / 1e7


def _hex(*parts: object) -> str:
    return hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()


@functools.cache
def user_id(number: int) -> str:
    return str(uuid.UUID(_hex("user", number)[:32]))


@functools.cache
def token(number: int) -> str:
    return _hex("key", number)


def model_name(number: int) -> str:
    return f"{PROVIDER}/example-org/Example-{number}-8B-Instruct"


def models_of(key: int, models: int) -> tuple[int, ...]:
    """Each key uses one model, every other key a second one."""
    return tuple(
        dict.fromkeys((key % models, (key * 7 + 1) % models) if key % 2 else (key % models,))
    )


def tags_of(event: Event) -> tuple[str, str]:
    """The tags LiteLLM adds by itself: the client's name, and name with version."""
    agent = AGENTS[event.key % len(AGENTS)]
    return f"User-Agent: {agent.partition('/')[0]}", f"User-Agent: {agent}"


@functools.cache
def _price_record(model: int) -> dict[str, Any]:
    """The price record of a model served by an engine of one's own: two prices, else null."""
    record: dict[str, Any] = dict.fromkeys(price_fields())
    record |= {"key": model_name(model), "litellm_provider": PROVIDER}
    record |= {"input_cost_per_token": 2e-07, "output_cost_per_token": 6e-07}
    return record | {"supported_openai_params": OPENAI_PARAMETERS.split()}


def _metadata(event: Event, call_id: str) -> dict[str, Any]:
    """What get_logging_payload keeps as metadata; a live proxy's was seen to be of this size."""
    details = {"completion_tokens_details": None, "prompt_tokens_details": None}
    tokens = {"completion_tokens": event.completion, "prompt_tokens": event.prompt}
    tokens["total_tokens"] = event.prompt + event.completion
    zero = "tool_usage_cost discount_percent discount_amount margin_percent margin_fixed_amount"
    costs: dict[str, Any] = dict.fromkeys([*zero.split(), "margin_total_amount"], 0.0)
    costs |= dict.fromkeys(("service_tier", "data_residency", "vertex_location"))
    costs |= {"input_cost": event.prompt * 2e-07, "output_cost": event.completion * 6e-07}
    costs |= {"total_cost": event.spend, "original_cost": event.spend}
    found: dict[str, Any] = dict.fromkeys(record_fields("SpendLogsMetadata"))
    found |= {"user_api_key": token(event.key), "user_api_key_alias": f"key-{event.key}"}
    found |= {"user_api_key_user_id": user_id(event.user), "requester_ip_address": "10.0.0.7"}
    found |= {"user_agent": AGENTS[event.key % len(AGENTS)], "litellm_call_id": call_id}
    found |= {"additional_usage_values": details, "usage_object": tokens | details}
    found |= {"applied_guardrails": [], "attempted_retries": 0, "attempted_fallbacks": 0}
    prices = {
        "model_map_key": model_name(event.model),
        "model_map_value": _price_record(event.model),
    }
    found |= {"max_retries": 2, "model_map_information": prices, "cost_breakdown": costs}
    found |= {"original_model_group": f"model-{event.model}", "used_client_oauth_token": False}
    return found | {"litellm_overhead_time_ms": event.ms % 97 / 11}


def spend_log(event: Event) -> dict[str, Any]:
    """One row of the spend log, by column."""
    call_id = str(uuid.uuid4())
    row: dict[str, Any] = dict.fromkeys(record_fields("SpendLogsPayload"))
    row |= dict.fromkeys(("team_id", "organization_id", "end_user"), "")
    row |= dict.fromkeys(("messages", "response", "proxy_server_request"), "{}")
    row |= {"request_id": f"chatcmpl-{uuid.uuid4().hex}", "call_type": "acompletion"}
    row |= {"api_key": token(event.key), "user": user_id(event.user), "spend": event.spend}
    row |= {"prompt_tokens": event.prompt, "completion_tokens": event.completion}
    row |= {"total_tokens": event.prompt + event.completion, "request_duration_ms": event.ms}
    end = event.at + dt.timedelta(milliseconds=event.ms)
    row |= {"startTime": event.at, "endTime": end, "completionStartTime": end}
    row |= {"model": model_name(event.model), "model_group": f"model-{event.model}"}
    row |= {"model_id": _hex("deployment", event.model), "custom_llm_provider": PROVIDER}
    row |= {"api_base": f"http://127.0.0.1:{8000 + event.model}/v1/chat/completions"}
    row |= {"cache_hit": "None", "cache_key": "Cache OFF", "status": "success"}
    row |= {"metadata": json.dumps(_metadata(event, call_id)), "litellm_call_id": call_id}
    row |= {"request_tags": json.dumps(tags_of(event)), "requester_ip_address": "10.0.0.7"}
    return row | {"session_id": str(uuid.uuid4()), "created_at": end, "updated_at": end}


def _numbered(rows: int, casts: Sequence[str], more: str = "") -> str:
    """`($1::text, $2::bigint…), ($3…)…` for so many rows."""
    width = len(casts)
    return ", ".join(
        "(" + ", ".join(f"${i * width + j + 1}{cast}" for j, cast in enumerate(casts)) + f"{more})"
        for i in range(rows)
    )


@functools.cache
def daily_columns(table: str) -> tuple[str, ...]:
    """The columns a flush fills; `created_at` has a default."""
    request = ("request_id",) if table == DAILY_TAG else ()
    return ("id", DAILY[table], *UNIQUE, "model_group", *COUNTERS, *AMOUNTS, *request)


def quoted(columns: Sequence[str]) -> str:
    """Column names for a statement; LiteLLM's are in mixed case."""
    return ", ".join(f'"{column}"' for column in columns)


@functools.cache
def upsert_daily(table: str, rows: int) -> str:
    """Adds so many rows of one flush to a daily table, in one statement."""
    columns = daily_columns(table)
    kinds = {**dict.fromkeys(COUNTERS, "::bigint"), **dict.fromkeys(AMOUNTS, "::double precision")}
    values = _numbered(rows, [kinds.get(each, "::text") for each in columns], f", {UTC_NOW}")
    sums = [f'"{each}" = "{table}"."{each}" + excluded."{each}"' for each in (*COUNTERS, *AMOUNTS)]
    if "request_id" in columns:
        sums.append(f'"request_id" = coalesce(excluded."request_id", "{table}"."request_id")')
    return (
        f'INSERT INTO "{table}" ({quoted(columns)}, "updated_at") VALUES {values} '
        f"ON CONFLICT ({quoted((DAILY[table], *UNIQUE))}) "
        f'DO UPDATE SET {", ".join(sums)}, "updated_at" = {UTC_NOW}'
    )


@functools.cache
def insert_logs(columns: tuple[str, ...], rows: int) -> str:
    """Inserts spend logs, passing over request ids that are there."""
    values = _numbered(rows, [""] * len(columns))
    return f'INSERT INTO "{LOG}" ({quoted(columns)}) VALUES {values} ON CONFLICT DO NOTHING'


UPSERT_USAGE = f"""
INSERT INTO "{USAGE}" (date, model_group, model, custom_llm_provider, task_type, spend, prompt_tokens,
  completion_tokens, request_count, successful_requests, failed_requests, created_at, updated_at)
VALUES ($1, $2, $3, $4, 'uncategorized', $5, $6, $7, 1, 1, 0, {UTC_NOW}, {UTC_NOW})
ON CONFLICT (date, model_group, model, custom_llm_provider, task_type) DO UPDATE
SET spend = "{USAGE}".spend + $5, prompt_tokens = "{USAGE}".prompt_tokens + $6,
  completion_tokens = "{USAGE}".completion_tokens + $7,
  request_count = "{USAGE}".request_count + 1,
  successful_requests = "{USAGE}".successful_requests + 1, updated_at = {UTC_NOW}
RETURNING *"""
UPSERT_GATEWAY = f"""
INSERT INTO "{GATEWAY}" (date, category, route, successful_requests, failed_requests, updated_at)
VALUES ($1, 'llm', '{ENDPOINT}', $2, 0, {UTC_NOW})
ON CONFLICT (date, category, route) DO UPDATE SET updated_at = {UTC_NOW},
  successful_requests = "{GATEWAY}".successful_requests + excluded.successful_requests"""
INCREMENTS = {
    USER: f'UPDATE "{USER}" SET spend = spend + $1, updated_at = {UTC_NOW} WHERE user_id = $2',
    KEY: f'UPDATE "{KEY}" SET spend = spend + $1, total_spend = total_spend + $1, '
    f"last_active = {UTC_NOW}, updated_at = {UTC_NOW} WHERE token = $2",
    TAG: f'UPDATE "{TAG}" SET spend = spend + $1, updated_at = {UTC_NOW} WHERE tag_name = $2',
}


def aggregated_report(where: str, n_where: int) -> str:
    """The one query of the aggregated report: totals by day and dimension, then by key too.

    The second half is cut to the keys that spent most, and counts all of them.
    """
    group = "coalesce(nullif(model_group, ''), model)"
    by = ("model", group, "custom_llm_provider", "mcp_namespaced_tool_name", "endpoint")
    shown = (
        f"model, {group} AS model_group, custom_llm_provider, mcp_namespaced_tool_name, endpoint"
    )
    sums = [f"sum({each})::float AS {each}" for each in AMOUNTS] + ["0::float AS ptu_flat_cost"]
    metrics = ", ".join(sums + [f"sum({each})::bigint AS {each}" for each in COUNTERS])
    days = ", ".join(["(date)", *(f"(date, {each})" for each in by), "()"])
    keys = ", ".join(["(date, api_key)", *(f"(date, {each}, api_key)" for each in by)])
    return f"""
    (SELECT date, NULL::text AS api_key, {shown},
       (grouping(date) << 6) | 32 | grouping({", ".join(by)}) AS group_level,
       NULL::bigint AS distinct_api_keys, {metrics}
     FROM "{DAILY_USER}" WHERE {where} GROUP BY GROUPING SETS ({days}))
    UNION ALL
    (WITH top AS (
       SELECT api_key, count(*) OVER () AS distinct_api_keys
       FROM "{DAILY_USER}" WHERE {where} AND api_key <> ${n_where + 1}
       GROUP BY api_key ORDER BY sum(spend::numeric) DESC, api_key LIMIT ${n_where + 2})
     SELECT date, api_key, {shown}, grouping(date, api_key, {", ".join(by)}) AS group_level,
       max(top.distinct_api_keys) AS distinct_api_keys, {metrics}
     FROM "{DAILY_USER}" JOIN top USING (api_key) WHERE {where}
     GROUP BY GROUPING SETS ({keys}))"""
