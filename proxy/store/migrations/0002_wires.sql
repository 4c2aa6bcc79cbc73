-- When a person saw something: the first output that is more than reasoning. Time as in the other columns.
ALTER TABLE exchanges ADD COLUMN first_visible_us INTEGER;

-- What a provider bills once, however often it shows it: kept responses, batches, the lines of a batch's results.
CREATE TABLE bills (
    biller TEXT NOT NULL, -- provider, or upstream without one
    id TEXT NOT NULL, -- the provider's
    exchange TEXT NOT NULL, -- id of the exchange in whose row the cost stands
    PRIMARY KEY (biller, id)
) WITHOUT ROWID;
