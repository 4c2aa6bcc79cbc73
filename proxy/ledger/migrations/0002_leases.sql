-- A lease is a reservation under which a gateway admits requests by itself. `nano_usd` is what it holds now: what it was
-- granted, less what its settled requests had of it.
ALTER TABLE reservations ADD COLUMN is_lease INTEGER NOT NULL DEFAULT 0;
ALTER TABLE reservations ADD COLUMN drawn_nano_usd INTEGER NOT NULL DEFAULT 0 CHECK (drawn_nano_usd >= 0);  -- in all
ALTER TABLE reservations ADD COLUMN spent_nano_usd INTEGER NOT NULL DEFAULT 0 CHECK (spent_nano_usd >= 0);  -- for that
ALTER TABLE reservations ADD COLUMN is_returned INTEGER NOT NULL DEFAULT 0;   -- no more requests come under it

-- They are looked for before anything is refused, among all that is open.
CREATE INDEX leases ON reservations (exchange) WHERE is_lease = 1;
