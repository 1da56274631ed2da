-- What the service keeps, whose it is and which account holds it; `until` is when that is forgotten.
CREATE TABLE bailian.objects (
    kind    TEXT COLLATE "C" NOT NULL,
    id      TEXT COLLATE "C" NOT NULL,
    owner   TEXT NOT NULL,
    account TEXT NOT NULL,
    until   BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX objects_by_end ON bailian.objects (until);
