-- '' for a limit of all regions.
CREATE TABLE registered_limits (
    id            TEXT PRIMARY KEY,
    service_id    TEXT NOT NULL,
    region_id     TEXT NOT NULL,
    resource_name TEXT NOT NULL,
    default_limit BIGINT NOT NULL,
    description   TEXT,
    created_at    BIGINT NOT NULL
);
CREATE UNIQUE INDEX registered_limits_name ON registered_limits (service_id, region_id, resource_name);

-- Of a project or of a domain; the other is ''.
CREATE TABLE limits (
    id             TEXT PRIMARY KEY,
    project_id     TEXT NOT NULL,
    domain_id      TEXT NOT NULL,
    service_id     TEXT NOT NULL,
    region_id      TEXT NOT NULL,
    resource_name  TEXT NOT NULL,
    resource_limit BIGINT NOT NULL,
    description    TEXT,
    created_at     BIGINT NOT NULL
);
CREATE UNIQUE INDEX limits_name ON limits (project_id, domain_id, service_id, region_id, resource_name);

CREATE TABLE domain_options (
    domain_id    TEXT NOT NULL,
    -- A group and an option of it, as in the configuration of Keystone.
    option_group TEXT NOT NULL,
    option_name  TEXT NOT NULL,
    -- JSON, sealed under the master key: some of them are passwords.
    value        BYTEA NOT NULL,
    PRIMARY KEY (domain_id, option_group, option_name)
);
