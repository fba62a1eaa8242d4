CREATE TABLE audit_events (
    id          TEXT PRIMARY KEY,
    at          BIGINT NOT NULL,
    request_id  TEXT NOT NULL,
    initiator   TEXT NOT NULL,
    project_id  TEXT,
    audit_id    TEXT,
    action      TEXT NOT NULL,
    target      TEXT NOT NULL,
    outcome     TEXT NOT NULL
);
CREATE INDEX audit_events_at ON audit_events (at, id);
