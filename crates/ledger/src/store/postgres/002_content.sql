-- The same columns as in SQLite.
CREATE TABLE ledger_content (
    id uuid NOT NULL PRIMARY KEY,
    kept_unix_ms bigint NOT NULL,
    tenant text NOT NULL,
    project text NOT NULL,
    key_id text NOT NULL,
    redacted boolean NOT NULL,
    request text,
    request_cut boolean NOT NULL,
    answer text,
    answer_cut boolean NOT NULL
);
CREATE INDEX ledger_content_owner ON ledger_content (tenant, project, key_id, kept_unix_ms);
