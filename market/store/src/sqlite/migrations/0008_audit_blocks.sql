-- Older parts of the audit log: many entries compressed together, without gaps, up to where the table `audit` goes on.
CREATE TABLE audit_block (
    first    INTEGER PRIMARY KEY,
    last     INTEGER NOT NULL UNIQUE CHECK (last >= first),
    -- The size of the lines before compression.
    bytes    INTEGER NOT NULL,
    lines    BLOB NOT NULL,
    -- The first four bytes of the hash of each entry.
    marks    BLOB NOT NULL,
    -- The hash of the last entry.
    end_hash BLOB NOT NULL
) STRICT;
