"""The settings of `inference` (surface, section 5), and what follows from some of them for others.

Some are kept for parts that do not exist yet; docs/operations.md says which.
"""

from collections.abc import Mapping
from typing import Any

from accounts.runtime_settings.kinds import (
    Budget,
    Count,
    Duration,
    DurationOrZero,
    Flag,
    Galleries,
    Pause,
    Share,
    Some,
    Text,
    Texts,
)
from accounts.runtime_settings.registry import SettingKey
from accounts.runtime_settings.secret_keys import SecretKey
from core.gallery_list import GalleryAt


def _flags(*names: str, default: bool = False) -> list[SettingKey]:
    return [SettingKey(name, Flag, default) for name in names]


def _texts(*names: str) -> list[SettingKey]:
    return [SettingKey(name, Text, "") for name in names]


def _listed(galleries: list[GalleryAt] | None) -> list[dict[str, str]]:
    return [each.model_dump() for each in galleries or []]


_WATCHDOG = [
    *_flags("watchdog_enabled", "watchdog_idle_enabled", "watchdog_busy_enabled"),
    SettingKey("watchdog_idle_timeout", Duration, "15m"),
    SettingKey("watchdog_busy_timeout", Duration, "5m"),
    SettingKey("watchdog_interval", Pause, "2s"),
]
_MEMORY = [
    SettingKey("max_active_backends", Count, 0),
    *_flags("single_backend", "force_eviction_when_busy", "size_aware_eviction"),
    SettingKey("lru_eviction_max_retries", Count, 30),
    SettingKey("lru_eviction_retry_interval", Pause, "1s"),
    *_flags("memory_reclaimer_enabled"),
    SettingKey("memory_reclaimer_threshold", Share, 0.95),
    SettingKey("vram_budget", Budget, "", variable="vram_budget"),
]
_ENGINES = [
    SettingKey("threads", Count, 0),
    SettingKey("context_size", Count, 0),
    *_flags("f16", "debug"),
    *_flags("auto_upgrade_backends", "prefer_development_backends"),
    SettingKey("artifact_download_concurrency", Some, 1),
]
_LOGGING = _flags("enable_backend_logging", default=True)
_GALLERIES = [
    SettingKey("galleries", Galleries, [], variable="galleries", from_env=_listed),
    SettingKey("backend_galleries", Galleries, [], variable="backend_galleries", from_env=_listed),
    *_flags("autoload_galleries", "autoload_backend_galleries", default=True),
]
_AGENTS = [
    SettingKey("agent_job_retention_days", Count, 30),
    *_flags("agent_pool_enabled", default=True),
    *_texts("agent_pool_default_model"),
    SettingKey("agent_pool_embedding_model", Text, "granite-embedding-107m-multilingual"),
    SettingKey("agent_pool_max_chunking_size", Some, 400),
    SettingKey("agent_pool_chunk_overlap", Count, 0),
    *_flags("agent_pool_enable_logs", "localai_assistant_enabled"),
    *_texts("agent_pool_collection_db_path", "agent_pool_vector_engine"),
    *_texts("agent_pool_agent_hub_url"),
    SecretKey("agent_pool_database_url"),
]
_REST = [
    SettingKey("open_responses_store_ttl", DurationOrZero, "720h"),
    SecretKey("p2p_token", can_make=True),
    *_texts("p2p_network_id", "instance_name", "instance_tagline", "mitm_listen"),
    *_flags("federated", "distributed_disk_headroom_check"),
    *(
        SettingKey(name, Text, "", read_only=True)
        for name in ("logo_file", "logo_horizontal_file", "favicon_file")
    ),
    SettingKey("pii_default_detectors", Texts, []),
]
KEYS = (*_WATCHDOG, *_MEMORY, *_ENGINES, *_LOGGING, *_GALLERIES, *_AGENTS, *_REST)


def consequences(
    given: Mapping[str, Any], before: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    """As LocalAI has it: one of the watchdogs on means the watchdog on, `single_backend` is the old
    name of `max_active_backends: 1`, and freeing memory is the watchdog's work.
    """
    found: dict[str, Any] = {}
    if "watchdog_idle_enabled" in given or "watchdog_busy_enabled" in given:
        one_is_on = values["watchdog_idle_enabled"] or values["watchdog_busy_enabled"]
        found["watchdog_enabled"] = one_is_on
    if given.get("memory_reclaimer_enabled"):
        found["watchdog_enabled"] = True
    changed = {name for name in given if values[name] != before[name]}
    if "max_active_backends" in changed:
        found["single_backend"] = values["max_active_backends"] == 1
    elif "single_backend" in changed:
        found["max_active_backends"] = int(values["single_backend"])
    return found
