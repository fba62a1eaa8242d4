CREATE TABLE work_items (
    kind        TEXT NOT NULL,
    object_id   TEXT NOT NULL,
    due_at      BIGINT NOT NULL,
    generation  BIGINT NOT NULL,
    lease_owner TEXT,
    lease_until BIGINT NOT NULL,
    fence       BIGINT NOT NULL,
    attempts    BIGINT NOT NULL,
    reason      TEXT,
    since       BIGINT NOT NULL,
    PRIMARY KEY (kind, object_id)
);
CREATE INDEX work_items_due ON work_items (due_at);
