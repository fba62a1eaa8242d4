CREATE TABLE nodes (
    name         TEXT PRIMARY KEY,
    created_at   BIGINT NOT NULL,
    hello        TEXT NOT NULL,
    connected_at BIGINT NOT NULL,
    connected    BIGINT NOT NULL
);
CREATE TABLE node_revisions (
    node         TEXT PRIMARY KEY,
    revision     BIGINT NOT NULL
);
CREATE TABLE node_documents (
    node         TEXT NOT NULL,
    kind         TEXT NOT NULL,
    id           TEXT NOT NULL,
    revision     BIGINT NOT NULL,
    sealed       BYTEA NOT NULL,
    PRIMARY KEY (node, kind, id)
);
CREATE INDEX node_documents_object ON node_documents (kind, id);
CREATE UNIQUE INDEX node_documents_revision ON node_documents (node, revision);
CREATE TABLE node_reports (
    node         TEXT NOT NULL,
    kind         TEXT NOT NULL,
    id           TEXT NOT NULL,
    revision     BIGINT NOT NULL,
    state        TEXT NOT NULL,
    at           BIGINT NOT NULL,
    PRIMARY KEY (node, kind, id)
);
CREATE INDEX node_reports_object ON node_reports (kind, id);
