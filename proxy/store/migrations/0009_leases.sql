-- What the requests under a lease of the ledger had of it, and what they cost, as long as the ledger keeps it open.
CREATE TABLE leases (
    lease TEXT PRIMARY KEY,
    drawn_nano_usd INTEGER NOT NULL,
    spent_nano_usd INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
