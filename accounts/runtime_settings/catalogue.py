"""What the Settings page says of each setting: sections in order, labels, hints.

The keys themselves are registered by the apps they belong to; here they are named only, so that this
module imports none of them. One that has no line here is shown all the same, at the end, by its name.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting on the page."""

    name: str
    label: Text
    hint: Text = ""


@dataclass(frozen=True, slots=True)
class Section:
    """`anchor` is its address on the page."""

    anchor: str
    heading: Text
    entries: tuple[Entry, ...]
    hint: Text = ""


_REGISTRATION = Section(
    "registration",
    _("Registration"),
    (
        Entry(
            "registration_mode",
            _("Who may register"),
            _(
                "Approval: an administrator lets people in. Invite: only with a link. Open: anybody."
            ),
        ),
    ),
)
_WATCHDOG = Section(
    "watchdog",
    _("Watchdog"),
    (
        Entry(
            "watchdog_enabled",
            _("Watchdog"),
            _("Without it, neither of the two below has an effect."),
        ),
        Entry(
            "watchdog_idle_enabled",
            _("Unload idle models"),
            _("Frees memory when a model has not been asked for a while."),
        ),
        Entry("watchdog_idle_timeout", _("Idle for"), _("Examples: 15m, 1h30m.")),
        Entry(
            "watchdog_busy_enabled",
            _("Stop stuck requests"),
            _("Ends a request that runs longer than the limit below."),
        ),
        Entry("watchdog_busy_timeout", _("Busy for"), _("Applies to one request.")),
        Entry("watchdog_interval", _("Look every"), _("At least 100ms.")),
    ),
)
_MEMORY = Section(
    "memory",
    _("Memory"),
    (
        Entry(
            "max_active_backends",
            _("Models at a time"),
            _("0 means no limit. The one idle longest makes room."),
        ),
        Entry("single_backend", _("One model at a time"), _("The old name of a limit of 1.")),
        Entry(
            "vram_budget",
            _("Budget of each graphics card"),
            _("A share or an amount: 80% or 40GB. Empty: none."),
        ),
        Entry(
            "force_eviction_when_busy",
            _("Unload models in use where nothing idle is left"),
            _("Their callers are served first; a new request waits for it."),
        ),
        Entry("lru_eviction_max_retries", _("Looks for an idle model before that")),
        Entry(
            "lru_eviction_retry_interval", _("Pause between two looks"), _("Examples: 1s, 500ms.")
        ),
        Entry(
            "memory_reclaimer_enabled",
            _("Unload idle models when memory runs full"),
            _("Switches the watchdog on."),
        ),
        Entry("memory_reclaimer_threshold", _("Full from"), _("A share: 0.95 is 95 of a hundred.")),
    ),
)
_PERFORMANCE = Section(
    "performance",
    _("Performance"),
    (
        Entry(
            "context_size",
            _("Context length"),
            _("For models that do not say. Longer needs more memory. 0: as the model has it."),
        ),
        Entry("threads", _("Threads"), _("For engines on the processor. 0: all cores.")),
        Entry("f16", _("Half precision"), _("For models on graphics cards that do not say.")),
        Entry("debug", _("Engines say more in their logs")),
    ),
    _("For engines that start from now on."),
)
_TRACING = Section(
    "tracing",
    _("Tracing"),
    (
        Entry("enable_tracing", _("Keep traces of requests"), _("Times, sizes and status.")),
        Entry(
            "tracing_bodies",
            _("Keep texts, too"),
            _("What people ask and get is then read by every administrator."),
        ),
        Entry(
            "tracing_redact_prompts",
            _("Redact prompts"),
            _("Of kept texts, takes out what people wrote and what was answered."),
        ),
        Entry(
            "tracing_max_items",
            _("Keep at most"),
            _("Older traces make room. 0: as many as possible."),
        ),
        Entry(
            "tracing_max_body_bytes",
            _("Bytes kept of a text"),
            _("The rest is cut off. 0: as many as possible."),
        ),
        Entry("enable_backend_logging", _("Keep engines' logs"), _("What they print, on disk.")),
    ),
)
_API = Section(
    "api-cors",
    _("API and CORS"),
    (
        Entry(
            "cors",
            _("Allow other web pages to call the API"),
            _("Browsers then need one of the origins below."),
        ),
        Entry("cors_allow_origins", _("Origins"), _("One per line. Empty: every one.")),
        Entry(
            "csrf",
            _("Do not check where browsers' requests come from"),
            _("On switches a protection off. Leave it off."),
        ),
        Entry(
            "open_responses_store_ttl",
            _("Keep stored responses for"),
            _("A duration such as 720h; 0 keeps them for good."),
        ),
    ),
)
_GALLERIES = Section(
    "galleries",
    _("Galleries"),
    (
        Entry("galleries", _("Galleries of models"), _("None: the built-in one.")),
        Entry("backend_galleries", _("Galleries of backends"), _("None: the built-in one.")),
        Entry(
            "autoload_backend_galleries",
            _("Installing a model also installs its backend"),
        ),
    ),
)
_LATER = Section(
    "later",
    _("Kept for later"),
    tuple(
        Entry(name, label)
        for name, label in (
            ("autoload_galleries", _("Read galleries at the start")),
            ("auto_upgrade_backends", _("Upgrade backends by themselves")),
            ("prefer_development_backends", _("Prefer backends in development")),
            ("artifact_download_concurrency", _("Downloads at a time")),
            ("size_aware_eviction", _("Unload large models first")),
            ("agent_pool_enabled", _("Agents")),
            ("agent_pool_default_model", _("Agents' model")),
            ("agent_pool_embedding_model", _("Agents' embedding model")),
            ("agent_pool_max_chunking_size", _("Largest piece of a text")),
            ("agent_pool_chunk_overlap", _("Overlap of pieces")),
            ("agent_pool_enable_logs", _("Agents' logs")),
            ("agent_pool_collection_db_path", _("Path of collections")),
            ("agent_pool_vector_engine", _("Vector engine")),
            ("agent_pool_database_url", _("Address of the agents' database")),
            ("agent_pool_agent_hub_url", _("Address of the agents' hub")),
            ("agent_job_retention_days", _("Days that jobs are kept")),
            ("localai_assistant_enabled", _("Assistant")),
            ("p2p_token", _("Swarm token")),
            ("p2p_network_id", _("Swarm network")),
            ("federated", _("Federated")),
            ("distributed_disk_headroom_check", _("Check the disks of a swarm")),
            ("instance_name", _("Name of this server")),
            ("instance_tagline", _("Line below the name")),
            ("logo_file", _("Mark")),
            ("logo_horizontal_file", _("Wide mark")),
            ("favicon_file", _("Icon")),
            ("mitm_listen", _("Address of the intercepting proxy")),
            ("pii_default_detectors", _("Detectors of personal data")),
        )
    ),
    _("These are kept so that LocalAI's clients can save them. They change nothing yet."),
)
KEYS = "api_keys"  # has a section of its own kind
SECTIONS = (_REGISTRATION, _WATCHDOG, _MEMORY, _PERFORMANCE, _TRACING, _API, _GALLERIES, _LATER)


def sections(registered: Iterable[str]) -> list[Section]:
    """What is registered, in order; what has no line above comes last, by its name."""
    there = set(registered) - {KEYS}
    found = []
    for section in SECTIONS:
        entries = tuple(each for each in section.entries if each.name in there)
        there -= {each.name for each in entries}
        if section.anchor == _LATER.anchor:
            entries += tuple(Entry(name, name) for name in sorted(there))
        if entries:
            found.append(Section(section.anchor, section.heading, entries, section.hint))
    return found
