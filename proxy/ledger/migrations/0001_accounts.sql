-- One row for each window of each budget and scope. Old windows are kept: they are the history.
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    budget TEXT NOT NULL,
    scope TEXT NOT NULL,
    window_start_ms INTEGER NOT NULL,   -- 0: total or rolling
    window_end_ms INTEGER,              -- NULL: total or rolling
    rolling_ms INTEGER,                 -- NULL: not rolling
    is_hard INTEGER NOT NULL,
    limit_nano_usd INTEGER NOT NULL,    -- in force for new reservations
    granted_nano_usd INTEGER,           -- the limit, or what was committed when it was lowered and still is; NULL: soft
    spent_nano_usd INTEGER NOT NULL DEFAULT 0,
    reserved_nano_usd INTEGER NOT NULL DEFAULT 0,
    overrun_nano_usd INTEGER NOT NULL DEFAULT 0,   -- what providers billed beyond a reservation and beyond the limit
    UNIQUE (budget, scope, window_start_ms),
    CHECK (limit_nano_usd >= 0),
    CHECK (spent_nano_usd >= 0),
    CHECK (reserved_nano_usd >= 0),
    CHECK (overrun_nano_usd >= 0),
    CHECK (is_hard = (granted_nano_usd IS NOT NULL)),
    CHECK (granted_nano_usd >= limit_nano_usd),
    CHECK (granted_nano_usd <= max(limit_nano_usd, spent_nano_usd + reserved_nano_usd)),
    CHECK (granted_nano_usd IS NULL OR spent_nano_usd + reserved_nano_usd <= granted_nano_usd + overrun_nano_usd)
) STRICT;

-- What a rolling account spent, by time of admission; summed up in accounts.spent_nano_usd, removed when it has left.
CREATE TABLE buckets (
    account INTEGER NOT NULL REFERENCES accounts (id),
    end_ms INTEGER NOT NULL,
    spent_nano_usd INTEGER NOT NULL CHECK (spent_nano_usd >= 0),
    PRIMARY KEY (account, end_ms)
) STRICT, WITHOUT ROWID;

-- What is promised to requests whose cost is not known yet. A settled reservation is deleted.
CREATE TABLE reservations (
    exchange TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    nano_usd INTEGER NOT NULL CHECK (nano_usd >= 0),
    model TEXT,
    provider TEXT,
    tier TEXT,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER,              -- covered so far; NULL: all that the request can produce
    output_limit INTEGER NOT NULL       -- all that the request can produce
) STRICT, WITHOUT ROWID;

CREATE TABLE reservation_lines (
    exchange TEXT NOT NULL REFERENCES reservations (exchange),
    account INTEGER NOT NULL REFERENCES accounts (id),
    bucket_end_ms INTEGER,              -- bucket of admission; NULL: not rolling
    PRIMARY KEY (exchange, account)
) STRICT, WITHOUT ROWID;
