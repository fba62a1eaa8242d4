-- Not "groups": a word of SQL.
CREATE TABLE user_groups (
    id          TEXT PRIMARY KEY,
    domain_id   TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    extra       TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX user_groups_name ON user_groups (domain_id, name);
CREATE INDEX user_groups_page ON user_groups (created_at, id);

CREATE TABLE group_members (
    group_id TEXT NOT NULL,
    user_id  TEXT NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_user ON group_members (user_id);

-- What each revision touched, so that a process which is behind reads only that.
CREATE TABLE identity_touched (
    revision BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    target   TEXT NOT NULL,
    PRIMARY KEY (revision, kind, target)
);
