-- A view is a page with its parameters, under a name. `owner`: whose it is; '' for those that everybody sees.
CREATE TABLE views (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    page TEXT NOT NULL,
    name TEXT NOT NULL,
    query TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    UNIQUE (page, owner, name)
) STRICT;
