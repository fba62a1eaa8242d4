CREATE TABLE flavors (
    id          TEXT PRIMARY KEY,
    created_at  BIGINT NOT NULL,
    name        TEXT NOT NULL,
    vcpus       BIGINT NOT NULL,
    ram         BIGINT NOT NULL,
    disk        BIGINT NOT NULL,
    extra_specs TEXT NOT NULL
);
CREATE UNIQUE INDEX flavors_name ON flavors (name);
CREATE TABLE keypairs (
    user_id     TEXT NOT NULL,
    name        TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    public_key  TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (user_id, name)
);
CREATE TABLE servers (
    id             TEXT PRIMARY KEY,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    project_id     TEXT NOT NULL,
    user_id        TEXT NOT NULL,
    name           TEXT NOT NULL,
    hostname       TEXT NOT NULL,
    state          TEXT NOT NULL,
    state_since    BIGINT NOT NULL,
    state_reason   TEXT,
    power          TEXT NOT NULL,
    soft_reboots   BIGINT NOT NULL,
    hard_reboots   BIGINT NOT NULL,
    launched_at    BIGINT,
    node           TEXT,
    flavor_id      TEXT NOT NULL,
    flavor_name    TEXT NOT NULL,
    vcpus          BIGINT NOT NULL,
    memory_mib     BIGINT NOT NULL,
    root_bytes     BIGINT NOT NULL,
    image_id       TEXT NOT NULL,
    image_data_id  TEXT NOT NULL,
    image_format   TEXT NOT NULL,
    key_name       TEXT,
    public_key     TEXT,
    user_data      BYTEA,
    metadata       TEXT NOT NULL,
    nics           TEXT NOT NULL,
    config_drive   BIGINT NOT NULL,
    disk_config    TEXT NOT NULL,
    access_ipv4    TEXT NOT NULL,
    access_ipv6    TEXT NOT NULL,
    reservation_id TEXT NOT NULL,
    launch_index   BIGINT NOT NULL
);
CREATE INDEX servers_page ON servers (created_at, id);
CREATE INDEX servers_project ON servers (project_id, created_at, id);
CREATE TABLE allocations (
    server_id  TEXT PRIMARY KEY,
    node       TEXT NOT NULL,
    vcpus      BIGINT NOT NULL,
    memory_mib BIGINT NOT NULL,
    disk_gib   BIGINT NOT NULL
);
CREATE INDEX allocations_node ON allocations (node);
CREATE TABLE server_actions (
    server_id  TEXT NOT NULL,
    request_id TEXT NOT NULL,
    action     TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    project_id TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    message    TEXT,
    PRIMARY KEY (server_id, request_id)
);
CREATE TABLE attachments (
    volume_id  TEXT PRIMARY KEY,
    server_id  TEXT NOT NULL,
    device     TEXT NOT NULL,
    state      TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX attachments_server ON attachments (server_id);
