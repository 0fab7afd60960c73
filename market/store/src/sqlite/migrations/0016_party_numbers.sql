-- A short number for each party, never used again. Parties are numbered in steps (`party_numbers.rs`); the index also
-- tells up to which.
ALTER TABLE party ADD COLUMN number INTEGER;
CREATE UNIQUE INDEX party_by_number ON party (number) WHERE number IS NOT NULL;
