-- Money is text in SQLite, digit for digit; `exact_sum` adds it up.
CREATE TABLE ledger_record (
    id TEXT NOT NULL PRIMARY KEY,
    started_unix_ms INTEGER NOT NULL,
    tenant TEXT,
    project TEXT,
    key_id TEXT,
    surface TEXT,
    dialect TEXT,
    model TEXT,
    est_input_tokens INTEGER NOT NULL,
    est_output_tokens INTEGER NOT NULL,
    est_cost TEXT,
    est_currency TEXT,
    process TEXT NOT NULL,
    account TEXT,
    region TEXT,
    upstream_model TEXT,
    attempts INTEGER NOT NULL,
    attempt_list TEXT,
    input_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    cache_created_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    images INTEGER NOT NULL,
    media_ms INTEGER NOT NULL,
    characters INTEGER NOT NULL,
    cost TEXT,
    currency TEXT,
    price_version TEXT,
    unpriced TEXT,
    queued_ms INTEGER,
    first_token_ms INTEGER,
    total_ms INTEGER,
    http_status INTEGER,
    outcome TEXT NOT NULL,
    error_code TEXT,
    upstream_request_id TEXT,
    stream INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    settled INTEGER NOT NULL
) STRICT;

CREATE INDEX ledger_record_started ON ledger_record (started_unix_ms, id);
CREATE INDEX ledger_record_tenant ON ledger_record (tenant, started_unix_ms, id);
CREATE INDEX ledger_record_key ON ledger_record (key_id, started_unix_ms, id);
-- Few rows: what is in flight, and what waits to be reconciled.
CREATE INDEX ledger_record_unsettled ON ledger_record (process, started_unix_ms) WHERE NOT settled;

-- How far each file of a spool is in the table above; written in the same transactions.
CREATE TABLE ledger_segment (
    name TEXT NOT NULL PRIMARY KEY,
    ingested INTEGER NOT NULL
) STRICT;
