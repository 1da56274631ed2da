-- Times are milliseconds since the Unix epoch; settings are the JSON of docs/keys.md.
CREATE TABLE bailian.tenants (
    id         TEXT COLLATE "C" PRIMARY KEY,
    revision   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    name       TEXT NOT NULL CONSTRAINT tenants_name UNIQUE,
    settings   TEXT NOT NULL
);
CREATE INDEX tenants_by_revision ON bailian.tenants (revision);

CREATE TABLE bailian.projects (
    id         TEXT COLLATE "C" PRIMARY KEY,
    tenant     TEXT COLLATE "C" NOT NULL REFERENCES bailian.tenants (id),
    revision   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    name       TEXT NOT NULL,
    settings   TEXT NOT NULL,
    CONSTRAINT projects_name UNIQUE (tenant, name)
);
CREATE INDEX projects_by_revision ON bailian.projects (revision);

CREATE TABLE bailian.keys (
    id          TEXT COLLATE "C" PRIMARY KEY,
    project     TEXT COLLATE "C" NOT NULL REFERENCES bailian.projects (id),
    revision    BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    name        TEXT NOT NULL,
    settings    TEXT NOT NULL,
    revoked_at  BIGINT,
    cut_streams BOOLEAN NOT NULL DEFAULT FALSE,
    CONSTRAINT keys_name UNIQUE (project, name)
);
CREATE INDEX keys_by_revision ON bailian.keys (revision);

-- What is kept of a key's secrets: a public part and a keyed digest.
CREATE TABLE bailian.credentials (
    verifier    BYTEA CONSTRAINT credentials_verifier PRIMARY KEY,
    key         TEXT COLLATE "C" NOT NULL REFERENCES bailian.keys (id) ON DELETE CASCADE,
    place       BIGINT NOT NULL,
    public_id   TEXT CONSTRAINT credentials_public_id UNIQUE,
    created_at  BIGINT NOT NULL,
    valid_until BIGINT
);
CREATE INDEX credentials_by_key ON bailian.credentials (key, place);

-- What is gone, so that replicas hear of it.
CREATE TABLE bailian.deleted (
    id          TEXT COLLATE "C" PRIMARY KEY,
    revision    BIGINT NOT NULL,
    cut_streams BOOLEAN NOT NULL
);
CREATE INDEX deleted_by_revision ON bailian.deleted (revision);

CREATE TABLE bailian.audit (
    number   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    revision BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    who      TEXT NOT NULL,
    address  TEXT,
    action   TEXT NOT NULL,
    target   TEXT NOT NULL,
    before   TEXT,
    after    TEXT
);
CREATE FUNCTION bailian.audit_stays() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is never changed'; END $$;
CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE ON bailian.audit
    FOR EACH ROW EXECUTE FUNCTION bailian.audit_stays();
CREATE TRIGGER audit_stays_whole BEFORE TRUNCATE ON bailian.audit
    FOR EACH STATEMENT EXECUTE FUNCTION bailian.audit_stays();
