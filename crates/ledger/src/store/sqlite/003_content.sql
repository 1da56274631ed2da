-- What requests said and were answered, for tenants that asked for it.
CREATE TABLE ledger_content (
    id BLOB NOT NULL PRIMARY KEY,
    kept_unix_ms INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    project TEXT NOT NULL,
    key_id TEXT NOT NULL,
    redacted INTEGER NOT NULL,
    request TEXT,
    request_cut INTEGER NOT NULL,
    answer TEXT,
    answer_cut INTEGER NOT NULL
) STRICT;
CREATE INDEX ledger_content_owner ON ledger_content (tenant, project, key_id, kept_unix_ms);
