-- Ids are their 16 bytes: they stand in the table and in four indexes, and were 36 as text.
CREATE TABLE ledger_record_2 (
    id BLOB NOT NULL PRIMARY KEY,
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
    process BLOB NOT NULL,
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

INSERT INTO ledger_record_2 (
    id, started_unix_ms, tenant, project, key_id, surface, dialect, model, est_input_tokens,
    est_output_tokens, est_cost, est_currency, process, account, region, upstream_model, attempts,
    attempt_list, input_tokens, cached_tokens, cache_created_tokens, output_tokens,
    reasoning_tokens, images, media_ms, characters, cost, currency, price_version, unpriced,
    queued_ms, first_token_ms, total_ms, http_status, outcome, error_code, upstream_request_id,
    stream, estimated, settled
)
SELECT
    unhex(replace(id, '-', '')), started_unix_ms, tenant, project, key_id, surface, dialect, model,
    est_input_tokens, est_output_tokens, est_cost, est_currency, unhex(replace(process, '-', '')),
    account, region, upstream_model, attempts, attempt_list, input_tokens, cached_tokens,
    cache_created_tokens, output_tokens, reasoning_tokens, images, media_ms, characters, cost,
    currency, price_version, unpriced, queued_ms, first_token_ms, total_ms, http_status, outcome,
    error_code, upstream_request_id, stream, estimated, settled
FROM ledger_record;

DROP TABLE ledger_record;
ALTER TABLE ledger_record_2 RENAME TO ledger_record;

CREATE INDEX ledger_record_started ON ledger_record (started_unix_ms, id);
CREATE INDEX ledger_record_tenant ON ledger_record (tenant, started_unix_ms, id);
CREATE INDEX ledger_record_key ON ledger_record (key_id, started_unix_ms, id);
-- Few rows: what is in flight, and what waits to be reconciled.
CREATE INDEX ledger_record_unsettled ON ledger_record (process, started_unix_ms) WHERE NOT settled;
