CREATE TABLE volumes (
    id                TEXT PRIMARY KEY,
    project_id        TEXT NOT NULL,
    user_id           TEXT NOT NULL,
    name              TEXT,
    description       TEXT,
    -- GiB: what the disk has, and what it shall have. Quotas count the latter.
    size              BIGINT NOT NULL,
    wanted_size       BIGINT NOT NULL,
    state             TEXT NOT NULL,
    state_since       BIGINT NOT NULL,
    state_reason      TEXT,
    -- Whose file it is; NULL if no node had room.
    node              TEXT,
    availability_zone TEXT NOT NULL,
    metadata          TEXT NOT NULL,
    bootable          BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT
);
CREATE INDEX volumes_page ON volumes (project_id, created_at, id);
CREATE INDEX volumes_all ON volumes (created_at, id);
CREATE INDEX volumes_node ON volumes (node);

-- A volume has one server at most.
CREATE TABLE volume_attachments (
    volume_id   TEXT PRIMARY KEY,
    id          TEXT NOT NULL,
    server_id   TEXT NOT NULL,
    device      TEXT,
    created_at  BIGINT NOT NULL,
    -- NULL while it is only reserved.
    attached_at BIGINT
);
CREATE INDEX volume_attachments_server ON volume_attachments (server_id);

-- What an admin set for a project, by the names of the API; the rest is the default.
CREATE TABLE volume_quotas (
    project_id TEXT PRIMARY KEY,
    limits     TEXT NOT NULL
);
