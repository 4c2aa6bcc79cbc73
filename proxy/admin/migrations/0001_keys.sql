CREATE TABLE keys (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE CHECK (length(digest) = 64),
    last_four TEXT NOT NULL,
    policy TEXT NOT NULL CHECK (json_valid(policy)),
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;

-- A revoked name can be given to a new key; two living keys never share one.
CREATE UNIQUE INDEX keys_by_living_name ON keys (name) WHERE revoked_ms IS NULL;
