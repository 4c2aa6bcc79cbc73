-- One row for each session: what its requests add up to, as in `rollups` and for as long as they are there. Names are those
-- of callers; one that begins with `auto:` was inferred.
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    first_at INTEGER NOT NULL, -- when its first request started, Unix ms
    last_at INTEGER NOT NULL, -- when its newest one did
    requests INTEGER NOT NULL,
    errors INTEGER NOT NULL, -- not completed, or answered with 400 or above
    unpriced INTEGER NOT NULL, -- requests that cost something nobody knows
    cost_nano_usd INTEGER NOT NULL, -- like all tokens the sum of what is known
    input_tokens INTEGER NOT NULL, -- cached included
    output_tokens INTEGER NOT NULL -- reasoning included
);
INSERT INTO sessions (name, first_at, last_at, requests, errors, unpriced, cost_nano_usd, input_tokens, output_tokens)
SELECT
    session, min(started_at), max(started_at), count(*), sum(outcome != 'completed' OR coalesce(status >= 400, 0)),
    sum(is_unpriced), sum(min(coalesce(cost_nano_usd, 0), 1000000000000000)),
    sum(min(coalesce(input_tokens, 0), 1000000000000000)), sum(min(coalesce(output_tokens, 0), 1000000000000000))
FROM exchanges, folds
WHERE session IS NOT NULL AND folds.name = 'rollups' AND NOT (seq > done_seq AND seq <= last_seq)
GROUP BY session ORDER BY min(seq);
CREATE UNIQUE INDEX sessions_by_name ON sessions (name);
CREATE INDEX sessions_by_time ON sessions (last_at);

-- Where conversations stood when a request was answered, so that the next request of each is known by it: keyed hashes
-- of what was said, for as long as a conversation may pause and never longer than the bodies are kept.
CREATE TABLE marks (
    seq INTEGER NOT NULL,
    mark INTEGER NOT NULL,
    PRIMARY KEY (seq, mark)
) WITHOUT ROWID;
CREATE TRIGGER marks_deleted AFTER DELETE ON payloads BEGIN
    DELETE FROM marks WHERE seq = OLD.exchange;
END;
CREATE TRIGGER marks_emptied AFTER UPDATE OF pieces ON payloads WHEN NEW.pieces IS NULL BEGIN
    DELETE FROM marks WHERE seq = OLD.exchange;
END;
