-- A token may have a role of its own: to send feedback, and nothing else.
CREATE TABLE tokens_with_feedback (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('feedback', 'viewer', 'editor', 'admin')),
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    last_four TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    used_ms INTEGER,
    revoked_ms INTEGER
) STRICT;
INSERT INTO tokens_with_feedback SELECT * FROM tokens;
DROP TABLE tokens;
ALTER TABLE tokens_with_feedback RENAME TO tokens;
CREATE UNIQUE INDEX tokens_by_living_name ON tokens (name) WHERE revoked_ms IS NULL;
