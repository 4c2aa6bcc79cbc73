-- When a person saw something: the first output that is more than reasoning. Time as in the other columns.
ALTER TABLE exchanges ADD COLUMN first_visible_us INTEGER;
