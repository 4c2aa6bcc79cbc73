-- What a price depends on beside the model and the tier, so that a cost can be computed again.
ALTER TABLE exchanges ADD COLUMN speed TEXT; -- of Anthropic: standard or fast
ALTER TABLE exchanges ADD COLUMN processing TEXT; -- batch
ALTER TABLE exchanges ADD COLUMN region TEXT;
ALTER TABLE exchanges ADD COLUMN is_free INTEGER; -- 1: the upstream was configured to cost nothing; NULL: recorded before this column
ALTER TABLE exchanges ADD COLUMN charges TEXT; -- JSON array: the parts that were priced apart; NULL: `usage_buckets` as a whole

-- What the provider accepted and bills later, under this id of its own; NULL: nothing is awaited.
ALTER TABLE exchanges ADD COLUMN pending_id TEXT;
CREATE INDEX exchanges_pending ON exchanges (pending_id) WHERE pending_id IS NOT NULL;

-- What a provider bills once, however often it shows it: kept responses, batches, the lines of a batch's results.
CREATE TABLE bills (
    biller TEXT NOT NULL, -- provider, or upstream without one
    id TEXT NOT NULL, -- the provider's
    exchange TEXT NOT NULL, -- id of the exchange in whose row the cost stands
    paid_at INTEGER NOT NULL, -- when that exchange started, Unix ms
    PRIMARY KEY (biller, id)
) WITHOUT ROWID;
CREATE INDEX bills_by_time ON bills (paid_at);

-- Opinions that are being formed anew over stored records: `reprice` and `reread`.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    task TEXT NOT NULL, -- JSON: what was asked for
    created_at INTEGER NOT NULL, -- Unix ms
    finished_at INTEGER, -- NULL: not yet
    error TEXT, -- why it ended early; NULL: it did not
    last_seq INTEGER NOT NULL, -- the newest row it is about
    done_seq INTEGER NOT NULL, -- the newest row it has dealt with
    total INTEGER NOT NULL, -- rows it is about
    done INTEGER NOT NULL -- rows dealt with
) WITHOUT ROWID;

-- What a job changed, by day and model.
CREATE TABLE job_changes (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    day TEXT NOT NULL, -- UTC
    model TEXT NOT NULL,
    requests INTEGER NOT NULL, -- looked at
    changed INTEGER NOT NULL,
    before_nano_usd INTEGER NOT NULL, -- known costs only
    after_nano_usd INTEGER NOT NULL,
    unpriced_before INTEGER NOT NULL,
    unpriced_after INTEGER NOT NULL,
    skipped INTEGER NOT NULL, -- bytes not kept, so not read again
    PRIMARY KEY (job, day, model)
) WITHOUT ROWID;
