-- Sums by hour and day: what a dashboard asks does not depend on how many requests there were. They are kept for ever,
-- but those by user and tag, which may name somebody: there are none by hour, and those by day go with the records.
CREATE TABLE rollups (
    id INTEGER PRIMARY KEY,
    dimension TEXT NOT NULL, -- all, key, model, key_model, upstream, provider, endpoint, environment, user, prompt, tag
    span TEXT NOT NULL, -- hour or day
    start INTEGER NOT NULL, -- of the hour or day (UTC) in which the requests started, Unix ms
    value TEXT NOT NULL, -- '' for requests that have none; (other) for all above the bound on values in one period
    part TEXT NOT NULL, -- of key_model the model, of prompt the version, of tag what it says; '' otherwise
    requests INTEGER NOT NULL,
    refused INTEGER NOT NULL, -- from here to `interrupted`: requests by outcome, those that are not `completed`
    client_closed INTEGER NOT NULL,
    upstream_error INTEGER NOT NULL,
    upstream_reset INTEGER NOT NULL,
    truncated INTEGER NOT NULL,
    timeout INTEGER NOT NULL,
    interrupted INTEGER NOT NULL,
    status_4xx INTEGER NOT NULL, -- completed, answered with 400 to 499
    status_429 INTEGER NOT NULL, -- of these, 429
    status_5xx INTEGER NOT NULL, -- completed, answered with 500 or above
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, -- cached included; like all tokens and costs the sum of what is known
    cached_input_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL, -- reasoning included
    reasoning_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    unpriced INTEGER NOT NULL, -- requests that cost something nobody knows
    latency BLOB, -- histogram: a msgpack map from bucket to count; NULL: this dimension has none
    ttft BLOB
);
CREATE UNIQUE INDEX rollups_by_place ON rollups (dimension, span, start, value, part);

-- The words of stored bodies, by `seq`. The text itself is not here a second time.
CREATE VIRTUAL TABLE texts USING fts5 (
    request, response, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
-- Parts of the index are merged sixteen at a time, a little with each batch, and never all at once.
INSERT INTO texts (texts, rank) VALUES ('automerge', 16), ('crisismerge', 200), ('deletemerge', 0);

-- How far rows that were there before a table are folded into it: those above `done_seq` up to `last_seq` are not yet.
CREATE TABLE folds (
    name TEXT PRIMARY KEY, -- the table
    done_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO folds SELECT 'rollups', coalesce((SELECT min(seq) FROM exchanges), 1) - 1, coalesce(max(seq), 0) FROM exchanges;
INSERT INTO folds SELECT 'texts', done_seq, last_seq FROM folds;
-- Here counts how often texts were removed, and up to which of those times the index was swept.
INSERT INTO folds VALUES ('removed', 0, 0);
