-- The same columns as in SQLite.
CREATE TABLE ledger_record (
    id uuid NOT NULL PRIMARY KEY,
    started_unix_ms bigint NOT NULL,
    tenant text,
    project text,
    key_id text,
    surface text,
    dialect text,
    model text,
    est_input_tokens bigint NOT NULL,
    est_output_tokens bigint NOT NULL,
    est_cost numeric,
    est_currency text,
    process uuid NOT NULL,
    account text,
    region text,
    upstream_model text,
    attempts bigint NOT NULL,
    attempt_list text,
    input_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    cache_created_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    images bigint NOT NULL,
    media_ms bigint NOT NULL,
    characters bigint NOT NULL,
    cost numeric,
    currency text,
    price_version text,
    unpriced text,
    queued_ms bigint,
    first_token_ms bigint,
    total_ms bigint,
    http_status bigint,
    outcome text NOT NULL,
    error_code text,
    upstream_request_id text,
    stream boolean NOT NULL,
    estimated boolean NOT NULL,
    settled boolean NOT NULL
);

CREATE INDEX ledger_record_started ON ledger_record (started_unix_ms, id);
CREATE INDEX ledger_record_tenant ON ledger_record (tenant, started_unix_ms, id);
CREATE INDEX ledger_record_key ON ledger_record (key_id, started_unix_ms, id);
-- Few rows: what is in flight, and what waits to be reconciled.
CREATE INDEX ledger_record_unsettled ON ledger_record (process, started_unix_ms) WHERE NOT settled;

-- How far each file of a spool is in the table above; written in the same transactions.
CREATE TABLE ledger_segment (
    name text NOT NULL PRIMARY KEY,
    ingested bigint NOT NULL
);
