-- A domain is a project with is_domain = 1 and no domain of its own (''), as in Keystone: one id, one row.
CREATE TABLE projects (
    id          TEXT PRIMARY KEY,
    domain_id   TEXT NOT NULL,
    parent_id   TEXT NOT NULL,
    is_domain   BIGINT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    enabled     BIGINT NOT NULL,
    tags        TEXT NOT NULL,
    options     TEXT NOT NULL,
    extra       TEXT NOT NULL,
    -- Tokens for this scope carry the number; raising it ends them all.
    token_epoch BIGINT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX projects_name ON projects (domain_id, name);
CREATE INDEX projects_page ON projects (created_at, id);
CREATE INDEX projects_parent ON projects (parent_id);

CREATE TABLE users (
    id                  TEXT PRIMARY KEY,
    domain_id           TEXT NOT NULL,
    name                TEXT NOT NULL,
    enabled             BIGINT NOT NULL,
    default_project_id  TEXT,
    password_hash       TEXT,
    password_changed_at BIGINT,
    -- Tokens of this user carry the number; raising it ends them all.
    token_epoch         BIGINT NOT NULL,
    options             TEXT NOT NULL,
    extra               TEXT NOT NULL,
    created_at          BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_name ON users (domain_id, name);
CREATE INDEX users_page ON users (created_at, id);

CREATE TABLE roles (
    id          TEXT PRIMARY KEY,
    -- '' for roles that are good in every domain.
    domain_id   TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT,
    options     TEXT NOT NULL,
    extra       TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX roles_name ON roles (domain_id, name);

CREATE TABLE implied_roles (
    prior_role_id   TEXT NOT NULL,
    implied_role_id TEXT NOT NULL,
    PRIMARY KEY (prior_role_id, implied_role_id)
);

CREATE TABLE role_assignments (
    -- Spells out the five columns that follow it, so that an assignment exists once.
    id         TEXT PRIMARY KEY,
    actor_kind TEXT NOT NULL,
    actor_id   TEXT NOT NULL,
    scope_kind TEXT NOT NULL,
    scope_id   TEXT NOT NULL,
    role_id    TEXT NOT NULL,
    inherited  BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX role_assignments_actor ON role_assignments (actor_kind, actor_id);
CREATE INDEX role_assignments_scope ON role_assignments (scope_kind, scope_id);
CREATE INDEX role_assignments_role ON role_assignments (role_id);

CREATE TABLE token_revocations (
    audit_id   TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX token_revocations_expiry ON token_revocations (expires_at);

-- Raised in the transaction of every write to the tables above, so that a process sees that its copy is old.
CREATE TABLE identity_revision (
    id       BIGINT PRIMARY KEY,
    revision BIGINT NOT NULL
);
INSERT INTO identity_revision (id, revision) VALUES (1, 1);
