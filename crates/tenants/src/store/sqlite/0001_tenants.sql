CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Times are milliseconds since the Unix epoch; settings are the JSON of docs/keys.md.
CREATE TABLE tenants (
    id         TEXT    NOT NULL PRIMARY KEY,
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    name       TEXT    NOT NULL UNIQUE,
    settings   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tenants_by_revision ON tenants (revision);

CREATE TABLE projects (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL REFERENCES tenants (id),
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    settings   TEXT    NOT NULL,
    UNIQUE (tenant, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX projects_by_revision ON projects (revision);

CREATE TABLE keys (
    id          TEXT    NOT NULL PRIMARY KEY,
    project     TEXT    NOT NULL REFERENCES projects (id),
    revision    INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    settings    TEXT    NOT NULL,
    revoked_at  INTEGER,
    cut_streams INTEGER NOT NULL DEFAULT 0,
    UNIQUE (project, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_revision ON keys (revision);

-- What is kept of a key's secrets: a public part and a keyed digest.
CREATE TABLE credentials (
    verifier    BLOB    NOT NULL PRIMARY KEY,
    key         TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    place       INTEGER NOT NULL,
    public_id   TEXT    UNIQUE,
    created_at  INTEGER NOT NULL,
    valid_until INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX credentials_by_key ON credentials (key, place);

-- What is gone, so that replicas hear of it.
CREATE TABLE deleted (
    id          TEXT    NOT NULL PRIMARY KEY,
    revision    INTEGER NOT NULL,
    cut_streams INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX deleted_by_revision ON deleted (revision);

CREATE TABLE audit (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    revision INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    who      TEXT    NOT NULL,
    address  TEXT,
    action   TEXT    NOT NULL,
    target   TEXT    NOT NULL,
    before   TEXT,
    after    TEXT
) STRICT;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is never deleted'); END;
