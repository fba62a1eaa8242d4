-- What operators add to the catalog; what comes with the cloud is not stored.
CREATE TABLE catalog_regions (
    id               TEXT PRIMARY KEY,
    parent_region_id TEXT,
    description      TEXT NOT NULL,
    extra            TEXT NOT NULL,
    created_at       BIGINT NOT NULL
);

CREATE TABLE catalog_services (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    enabled    BIGINT NOT NULL,
    extra      TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE catalog_endpoints (
    id         TEXT PRIMARY KEY,
    service_id TEXT NOT NULL,
    interface  TEXT NOT NULL,
    region_id  TEXT,
    url        TEXT NOT NULL,
    enabled    BIGINT NOT NULL,
    extra      TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX catalog_endpoints_service ON catalog_endpoints (service_id);

CREATE TABLE endpoint_groups (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    description TEXT,
    filters     TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE policies (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    blob       TEXT NOT NULL,
    extra      TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Pairs: which endpoints and endpoint groups a project sees, and what a policy is for.
CREATE TABLE associations (
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    object  TEXT NOT NULL,
    PRIMARY KEY (kind, subject, object)
);
CREATE INDEX associations_object ON associations (kind, object);
