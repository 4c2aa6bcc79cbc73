-- One row for each request. Facts come first, then what was understood, then what it cost.
-- NULL is unknown; it never means zero. Times are µs after the request head was complete, unless the name says ms.
CREATE TABLE exchanges (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- order of recording, never used twice, so that a follower misses nothing
    id TEXT NOT NULL UNIQUE,
    started_at INTEGER NOT NULL, -- Unix ms
    key TEXT,
    user TEXT,
    session TEXT,
    trace_id TEXT,
    parent_id TEXT,
    environment TEXT,
    tags TEXT NOT NULL, -- JSON object
    upstream TEXT NOT NULL,
    provider TEXT,
    wire TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    prompt_name TEXT,
    prompt_version TEXT,
    attempt INTEGER NOT NULL,
    mutated TEXT NOT NULL, -- comma-separated; '' when not one byte was changed
    no_store TEXT NOT NULL,
    status INTEGER,
    outcome TEXT NOT NULL,
    error_code TEXT,
    error_message TEXT,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    request_complete_us INTEGER,
    dispatched_us INTEGER,
    connect_us INTEGER,
    response_head_us INTEGER,
    first_token_us INTEGER,
    last_token_us INTEGER,
    duration_us INTEGER,
    overhead_us INTEGER,

    reader TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    model_requested TEXT,
    model TEXT,
    streaming INTEGER NOT NULL,
    response_id TEXT,
    service_tier TEXT,
    finish_reason TEXT, -- of every choice, comma-separated
    finish_reasons TEXT NOT NULL, -- JSON array, one for each choice
    tool_calls TEXT NOT NULL, -- JSON array
    problems TEXT NOT NULL, -- comma-separated
    input_tokens INTEGER, -- cached included
    cached_input_tokens INTEGER,
    cache_write_tokens INTEGER,
    output_tokens INTEGER, -- reasoning included
    reasoning_tokens INTEGER,
    usage TEXT, -- the provider's own object
    usage_buckets TEXT, -- JSON: the disjoint buckets that were priced
    usage_source TEXT NOT NULL,

    cost_nano_usd INTEGER,
    cost_source TEXT NOT NULL,
    cost_model TEXT,
    cost_reason TEXT,
    cost_components TEXT NOT NULL, -- JSON object, nano-USD by bucket
    price_version TEXT,
    price_date TEXT,
    is_unpriced INTEGER NOT NULL, -- 1: it cost something and nobody knows what
    is_reserved INTEGER NOT NULL, -- 1: the ledger held a reservation under this id
    settled_nano_usd INTEGER, -- what the ledger is told; NULL: the whole reservation
    settled_estimate INTEGER NOT NULL,
    bodies_kept INTEGER NOT NULL -- 1: rows in `bodies` hold bytes
);
CREATE INDEX exchanges_by_time ON exchanges (started_at);
CREATE INDEX exchanges_by_key ON exchanges (key, started_at);
CREATE INDEX exchanges_by_model ON exchanges (model, started_at);
CREATE INDEX exchanges_by_session ON exchanges (session, started_at) WHERE session IS NOT NULL;
CREATE INDEX exchanges_by_trace ON exchanges (trace_id) WHERE trace_id IS NOT NULL;
CREATE INDEX exchanges_with_errors ON exchanges (started_at) WHERE outcome != 'completed' OR status >= 400;
CREATE INDEX exchanges_with_bodies ON exchanges (started_at) WHERE bodies_kept = 1;

CREATE TABLE bodies (
    exchange INTEGER NOT NULL REFERENCES exchanges (seq) ON DELETE CASCADE,
    side INTEGER NOT NULL, -- 0 request, 1 response
    headers TEXT NOT NULL, -- JSON array of [name, value], Latin-1 as on the wire
    size INTEGER NOT NULL, -- bytes that passed
    sha256 BLOB NOT NULL, -- of all of them
    codec TEXT NOT NULL, -- of `head`: raw or zstd
    head BLOB, -- the first bytes; NULL: not kept
    head_size INTEGER NOT NULL, -- decompressed; equal to `size` when the body is whole
    tail BLOB, -- the last bytes of a body that is not whole, uncompressed
    PRIMARY KEY (exchange, side)
);

CREATE TABLE counters (
    name TEXT NOT NULL,
    labels TEXT NOT NULL, -- JSON object
    value INTEGER NOT NULL,
    PRIMARY KEY (name, labels)
) WITHOUT ROWID;

CREATE TABLE histograms (
    name TEXT NOT NULL,
    labels TEXT NOT NULL, -- JSON object
    buckets TEXT NOT NULL, -- JSON array: observations in each bucket, not cumulative, the last one unbounded
    count INTEGER NOT NULL,
    sum REAL NOT NULL,
    PRIMARY KEY (name, labels)
) WITHOUT ROWID;

CREATE TABLE journal_segments (
    segment TEXT PRIMARY KEY, -- file name
    resume INTEGER NOT NULL, -- offset to start at after a restart
    seen INTEGER NOT NULL -- offset up to which frames were taken
) WITHOUT ROWID;

CREATE TABLE status (
    name TEXT PRIMARY KEY,
    value REAL NOT NULL
) WITHOUT ROWID;

-- What the views and the program's own queries build on; not a promise.
CREATE VIEW request_rows AS
SELECT
    seq, id, started_at, key, user, session, trace_id, parent_id, environment, tags, upstream, wire, endpoint, method,
    path, model_requested, model, streaming, status, outcome, error_code, error_message,
    CASE WHEN streaming THEN first_token_us / 1000.0 END AS ttft_ms,
    duration_us / 1000.0 AS duration_ms,
    overhead_us / 1000.0 AS overhead_ms,
    input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, usage, usage_source,
    cost_nano_usd / 1e9 AS cost_usd,
    cost_source, price_version, finish_reason, prompt_name, prompt_version, attempt, request_bytes, response_bytes,
    mutated, cost_nano_usd, is_unpriced
FROM exchanges;

-- A public interface: the columns, their order and their meaning are a promise.
CREATE VIEW requests AS
SELECT
    id, started_at, key, user, session, trace_id, parent_id, environment, tags, upstream, wire, endpoint, method,
    path, model_requested, model, streaming, status, outcome, error_code, error_message, ttft_ms, duration_ms,
    overhead_ms, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, usage,
    usage_source, cost_usd, cost_source, price_version, finish_reason, prompt_name, prompt_version, attempt,
    request_bytes, response_bytes, mutated
FROM request_rows;
