"""The rows of the contract, in our own words, and where each is answered for.

`LATER` are rows that another part of the product brings; they are listed as such, not as gaps.
"""

ENDPOINTS = """
E-01 status | E-02 register | E-03 login | E-04 token-login | E-05 logout | E-06 me | E-07 quota | E-08 profile
E-09 password | E-10 end all sessions | E-11 make a key | E-12 list keys | E-13 revoke a key | E-14 own usage
E-15 own usage by source | E-16 features | E-17 list users | E-18 role | E-19 status of a user | E-20 reset a password
E-21 delete a user | E-22 read permissions | E-23 set permissions | E-24 allowed models | E-25 read quotas
E-26 set a quota | E-27 delete a quota | E-28 everybody's usage | E-29 everybody's usage by source | E-30 make an invite
E-31 list invites | E-32 revoke an invite | E-33 GitHub start | E-34 GitHub callback | E-35 OIDC start | E-36 OIDC callback
E-37 check an invite | E-38 usage without accounts | E-39 all usage without accounts
"""
CREDENTIALS = """
TOK-01 no credential in a query | TOK-02 header names | TOK-03 session cookie first | TOK-04 only active owners
TOK-05 dead cookies stay | TOK-06 session tokens by cookie and Bearer only
REG-01 first account is the admin's | REG-02 admin address | REG-03 promotion at sign-in | REG-04 set-up token
"""
WEAKNESSES = """
W-01 unproven admin address | W-02 sign-up races | W-03 invite races | W-04 used invites | W-05 disabled sign-in
W-06 limits by a forged header | W-07 sessions outliving their key | W-08 keys that may do everything
W-09 allow-list bypass | W-10 routes outside the registry | W-11 holes in usage | W-12 the quota engine
W-13 the usage queue | W-14 silent provider failure | W-15 OAuth hardening
W-16 claims | W-17 lost sessions | W-18 no audit trail | W-19 legacy keys | W-20 input | W-21 enumeration
W-22 CORS and preflight | W-23 CSRF | W-24 secrets without rotation | W-25 no retention, roll-up or export
W-26 cost and paging | W-27 the UI's figures | W-28 tests of copies | W-29 mail and second factors
W-30 the synthetic admin | W-31 usage semantics | W-32 errors told wrongly | W-33 machines as first user
W-35 the local user
"""
SETTLED = """
S-01 admin address | S-02 redaction | S-05 key expiry | S-06 keys after a new password | S-07 legacy principal
S-08 last admin | S-10 sign-in limits | S-11 foreign origin | S-13 freshness of usage | S-14 two models named
S-15 when a quota opens | S-16 zero and negative maxima | S-17 failed and refused requests | S-18 an engine that dies
S-19 usage of a deleted user | S-20 unknown periods
S-21 unknown permissions | S-22 invite hours | S-23 CORS | S-24 anonymous pages | S-25 sessions, mail, audit
S-27 access tokens | S-28 session from a key | S-29 secrets in files | S-30 set-up token | S-31 first admin
S-32 unverified addresses | S-33 taken addresses | S-34 TOTP replay | S-35 Argon2id | S-36 weak passwords
S-37 throttling per account | S-38 when CSRF is judged | S-39 rights during a stream | S-40 codes of a refusal
S-41 token cookie | S-42 second factor | S-43 logout | S-44 groups | S-45 new session keys | S-46 rotation of secrets
S-47 ids | S-48 base URL | S-49 what a request is in the books | S-50 window of a report | S-51 quota rules
S-52 tokens to hold at admission | S-53 journal full | S-54 money
"""
# Sections 4.4 and 5 have no row ids of their own: numbered here in their order (S-55).
QUOTAS = """
Q-01 what a rule is, and that it is unique | Q-02 where it is enforced, and for whom | Q-03 before the model runs
Q-04 a sliding window, of one model or all | Q-05 as many as the maximum are let through | Q-06 all rules have to pass
Q-07 only what succeeded counts | Q-08 a change of a rule counts at once | Q-09 where usage cannot be counted
"""
USAGE = """
U-01 the fields of an event | U-02 no foreign keys, names of the moment | U-03 which endpoints are recorded
U-04 failed requests | U-05 callers without accounts | U-06 where token counts come from | U-07 the source
U-08 requested and served model | U-09 what Prometheus is told | U-10 how usage is stored | U-11 retention
U-12 periods and buckets | U-13 one's own usage | U-14 everybody's usage | U-15 one's own sources
U-16 everybody's sources | U-17 the twins for every mode | U-18 statistics switched off
"""
SURFACE = """
R-01 secrets as masks | R-02 recipes of backends | R-03 galleries | R-04 one unreadable gallery | R-05 a model without its backend
R-06 private addresses | R-07 local sources | R-08 environment against settings | R-09 registration mode at run time
R-10 unknown keys and types | R-11 bodies in traces | R-12 traces | R-13 engine logs | R-14 monitor and shutdown
R-15 toggles | R-16 interrupted operations | R-17 import by address | R-18 schema of refusals | R-19 a model's configuration
R-20 external recipes | R-21 one store of settings | R-22 tracing and logs on | R-23 numbers of log lines
R-24 pages and refusals | R-25 metrics and version | R-26 OpenAPI | R-27 no 5xx for bad input | R-28 names of rows
R-29 data for the pages | R-30 fields of traces | R-31 memory budgets | R-32 the gallery's list | R-33 upgrade of a backend
R-34 waiting for a model | R-35 repeated posts | R-36 names with a slash | R-37 addresses in answers
R-38 pictures from elsewhere | R-39 conversations | R-40 declining a person
"""
# Rows of surface.md, sections 1, 2 and 5, that have no id: it is their method and path, or `SET:key`.
ROUTES = """
GET /api/models
POST /api/models/install/:id
POST /api/models/delete/:id
GET /api/models/job/:uid
GET /api/models/capabilities
POST /api/models/config/:id
GET /api/models/config-json/:name
GET /api/models/edit/:name
POST /models/edit/:name
POST /models/import
POST /models/import-uri
POST /models/reload
POST /models/apply
POST /models/delete/:name
GET /models/available
GET /models/galleries
GET /models/jobs/:uuid
GET /models/jobs
PUT /models/toggle-state/:name/:action
PUT /models/toggle-pinned/:name/:action
GET /api/backends
POST /api/backends/install/:id
POST /api/backends/delete/:id
POST /api/backends/install-external
GET /api/backends/job/:uid
POST /api/backends/system/delete/:name
GET /backends
GET /backends/available
GET /backends/galleries
POST /backends/apply
POST /backends/delete/:name
GET /backends/jobs/:uuid
GET /api/operations
POST /api/operations/:jobID/cancel
POST /api/operations/:jobID/dismiss
GET /api/traces
POST /api/traces/clear
GET /api/backend-traces
POST /api/backend-traces/clear
GET /api/backend-logs
GET /api/backend-logs/:modelId
POST /api/backend-logs/:modelId/clear
WS /ws/backend-logs/:modelId
GET /api/resources
GET /system
GET /backend/monitor
POST /backend/shutdown
POST /backend/load
GET /api/settings
POST /api/settings
"""
SETTINGS = """
watchdog_enabled watchdog_idle_enabled watchdog_busy_enabled watchdog_idle_timeout watchdog_busy_timeout
watchdog_interval max_active_backends single_backend force_eviction_when_busy lru_eviction_max_retries
lru_eviction_retry_interval memory_reclaimer_enabled memory_reclaimer_threshold threads context_size f16 debug
enable_tracing tracing_max_items tracing_max_body_bytes enable_backend_logging cors cors_allow_origins csrf
p2p_token p2p_network_id federated galleries backend_galleries autoload_galleries autoload_backend_galleries
api_keys agent_job_retention_days open_responses_store_ttl agent_pool_enabled agent_pool_default_model
agent_pool_embedding_model agent_pool_max_chunking_size agent_pool_chunk_overlap agent_pool_enable_logs
agent_pool_collection_db_path
"""
LATER = {
    "W-27": "web UI (its figures are exact; the pages come with it)",
    "W-28": "by how tests are made: all go through the real URL configuration",
    "W-33": "nodes do not exist here",
    "R-24": "web UI (the table of its pages)",
}


def rows() -> list[tuple[str, str]]:
    """(id, words) of every row, in the order above."""
    text = " | ".join(
        part.strip().replace("\n", " | ")
        for part in (ENDPOINTS, CREDENTIALS, WEAKNESSES, SETTLED, QUOTAS, USAGE, SURFACE)
    )
    found = []
    for item in text.split(" | "):
        row, _, words = item.strip().partition(" ")
        found.append((row, words))
    found += [(route, "") for route in ROUTES.strip().splitlines()]
    return found + [(f"SET:{key}", "") for key in SETTINGS.split()]
