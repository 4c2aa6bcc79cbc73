-- Zones: what is known in short of every 512 rows in the order of recording, so that a question reads only the zones that
-- can hold an answer. They stand in for an index on each column that people filter or sort by.
CREATE TABLE zones (
    zone INTEGER PRIMARY KEY, -- seq >> 9
    is_known INTEGER NOT NULL, -- 0: its rows changed, or were never looked at: only the times below are certain
    started_min INTEGER NOT NULL,
    started_max INTEGER NOT NULL,
    cost_min INTEGER, -- nano-USD; NULL here and below: no row has a value
    cost_max INTEGER,
    latency_min INTEGER, -- µs
    latency_max INTEGER,
    ttft_min INTEGER, -- µs
    ttft_max INTEGER,
    input_min INTEGER,
    input_max INTEGER,
    output_min INTEGER,
    output_max INTEGER,
    tokens_min INTEGER,
    tokens_max INTEGER
);
CREATE INDEX zones_by_time ON zones (started_max);
CREATE INDEX zones_unknown ON zones (zone) WHERE is_known = 0;

-- Which values occur in a known zone. Of what strangers may have written, a hash stands here.
CREATE TABLE facets (
    name TEXT NOT NULL,
    value TEXT NOT NULL, -- '': a row has none; char(1): there are too many to name them
    zone INTEGER NOT NULL,
    cost_max INTEGER, -- of the zone's rows with this value, for the names of which it is kept; units as in `zones`
    latency_max INTEGER,
    ttft_max INTEGER,
    tokens_max INTEGER,
    PRIMARY KEY (name, value, zone)
) WITHOUT ROWID;
CREATE INDEX facets_by_zone ON facets (zone, name, value);

-- A zone that is not full yet is none: nobody would notice the rows that are still to come.
INSERT INTO zones (zone, is_known, started_min, started_max)
SELECT seq >> 9, 0, min(started_at), max(started_at) FROM exchanges
WHERE seq >> 9 < (SELECT max(seq) + 1 FROM exchanges) >> 9 GROUP BY seq >> 9;

-- Whoever changes or deletes a row, the zone is no longer known, and no copy of a value stays behind in its facets.
CREATE TRIGGER zones_after_delete AFTER DELETE ON exchanges
WHEN (SELECT is_known FROM zones WHERE zone = old.seq >> 9) BEGIN
    DELETE FROM facets WHERE zone = old.seq >> 9;
    UPDATE zones SET is_known = 0 WHERE zone = old.seq >> 9;
END;
CREATE TRIGGER zones_after_update AFTER UPDATE OF
    key, model, model_requested, upstream, provider, endpoint, outcome, error_code, status, environment,
    prompt_name, prompt_version, finish_reason, streaming, is_unpriced, cached_input_tokens, tool_calls, retry_of, tags,
    cost_nano_usd, duration_us, first_token_us, input_tokens, output_tokens
ON exchanges
WHEN (SELECT is_known FROM zones WHERE zone = old.seq >> 9) BEGIN
    DELETE FROM facets WHERE zone = old.seq >> 9;
    UPDATE zones SET is_known = 0 WHERE zone = old.seq >> 9;
END;

-- What they replace.
DROP INDEX exchanges_by_model;
DROP INDEX exchanges_with_errors;
