-- What the service keeps, whose it is and which account holds it; `until` is when that is forgotten.
CREATE TABLE objects (
    kind    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    owner   TEXT    NOT NULL,
    account TEXT    NOT NULL,
    until   INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX objects_by_end ON objects (until);
