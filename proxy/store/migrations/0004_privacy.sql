-- What was done to an exchange for privacy's sake, comma-separated: redacted, redaction_failed, sampled_out, erased.
ALTER TABLE exchanges ADD COLUMN privacy TEXT NOT NULL DEFAULT '';

-- How the stored bytes differ from those that passed: '' not at all, `redacted`, or `redacted_cut` when some are missing.
ALTER TABLE bodies ADD COLUMN edit TEXT NOT NULL DEFAULT '';

-- What stood where a pseudonym stands now. Written only when `record.reidentify` is on; goes with its record.
CREATE TABLE pseudonyms (
    exchange INTEGER NOT NULL REFERENCES exchanges (seq) ON DELETE CASCADE,
    name TEXT NOT NULL, -- such as [EMAIL:7f3a9c02b1d4]
    original TEXT NOT NULL,
    PRIMARY KEY (exchange, name)
) WITHOUT ROWID;

-- For those who ask for all that is stored about a user.
CREATE INDEX exchanges_by_user ON exchanges (user, started_at) WHERE user IS NOT NULL;
