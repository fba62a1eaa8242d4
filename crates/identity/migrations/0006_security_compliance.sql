-- Wrong passwords in a row, and when the last one came; NULL if there was none since the last right one.
ALTER TABLE users ADD COLUMN failed_logins BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN failed_at BIGINT;
-- From when on the password lets nobody in any more, but to change it. NULL for never.
ALTER TABLE users ADD COLUMN password_expires_at BIGINT;
-- Whether the user chose the password, and not an administrator.
ALTER TABLE users ADD COLUMN password_is_own BIGINT NOT NULL DEFAULT 0;
-- The beginning of the day (UTC) of the last login.
ALTER TABLE users ADD COLUMN last_active_at BIGINT;

-- What came before the password of today, as long as it must not come again.
CREATE TABLE former_passwords (
    user_id       TEXT NOT NULL,
    -- The higher, the later.
    number        BIGINT NOT NULL,
    password_hash TEXT NOT NULL,
    PRIMARY KEY (user_id, number)
);
