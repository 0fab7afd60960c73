-- A short number for each party, never used again. Parties are numbered in steps (`party_numbers.rs`).
ALTER TABLE party ADD COLUMN number INTEGER;
-- With what orders are shown with, so that a list of them reads no rows of parties.
CREATE INDEX party_by_number ON party (number, display_name) WHERE number IS NOT NULL;
