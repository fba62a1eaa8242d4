CREATE TABLE application_credentials (
    id           TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL,
    project_id   TEXT NOT NULL,
    name         TEXT NOT NULL,
    description  TEXT,
    -- Of a secret that we made a keyed hash, of one that the user chose a password hash.
    secret_hash  TEXT NOT NULL,
    roles        TEXT NOT NULL,
    expires_at   BIGINT,
    unrestricted BIGINT NOT NULL,
    -- The ids of access rules; NULL if it may call everything.
    access_rules TEXT,
    created_at   BIGINT NOT NULL
);
CREATE UNIQUE INDEX application_credentials_name ON application_credentials (user_id, name);
CREATE INDEX application_credentials_project ON application_credentials (project_id);

CREATE TABLE access_rules (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL,
    service    TEXT NOT NULL,
    path       TEXT NOT NULL,
    method     TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX access_rules_user ON access_rules (user_id);

CREATE TABLE credentials (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL,
    project_id TEXT,
    kind       TEXT NOT NULL,
    -- Sealed under the master key.
    blob       BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX credentials_user ON credentials (user_id);

-- The last step of one-time passwords that a user has used.
CREATE TABLE totp_steps (
    user_id TEXT PRIMARY KEY,
    step    BIGINT NOT NULL
);

CREATE TABLE trusts (
    id                 TEXT PRIMARY KEY,
    trustor_user_id    TEXT NOT NULL,
    trustee_user_id    TEXT NOT NULL,
    project_id         TEXT,
    impersonation      BIGINT NOT NULL,
    roles              TEXT NOT NULL,
    expires_at         BIGINT,
    remaining_uses     BIGINT,
    redelegation_count BIGINT NOT NULL,
    -- The trust that this one hands on.
    redelegated_id     TEXT,
    created_at         BIGINT NOT NULL
);
CREATE INDEX trusts_trustor ON trusts (trustor_user_id);
CREATE INDEX trusts_trustee ON trusts (trustee_user_id);
