CREATE TABLE images (
    id               TEXT PRIMARY KEY,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    project_id       TEXT NOT NULL,
    name             TEXT,
    status           TEXT NOT NULL,
    status_since     BIGINT NOT NULL,
    status_reason    TEXT,
    visibility       TEXT NOT NULL,
    protected        BIGINT NOT NULL,
    hidden           BIGINT NOT NULL,
    container_format TEXT,
    disk_format      TEXT,
    min_disk         BIGINT NOT NULL,
    min_ram          BIGINT NOT NULL,
    size             BIGINT,
    virtual_size     BIGINT,
    checksum         TEXT,
    hash             TEXT,
    data_id          TEXT
);
CREATE INDEX images_page ON images (created_at, id);
CREATE INDEX images_project ON images (project_id, created_at, id);
CREATE INDEX images_data ON images (data_id);
CREATE TABLE image_tags (
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    tag      TEXT NOT NULL,
    PRIMARY KEY (image_id, tag)
);
CREATE TABLE image_properties (
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    name     TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (image_id, name)
);
CREATE TABLE image_data (
    id       TEXT PRIMARY KEY,
    image_id TEXT NOT NULL,
    state    TEXT NOT NULL,
    seen_at  BIGINT NOT NULL
);
