-- Who changed what: one JSON object a line, each tied to the one before it by a hash.
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    line     TEXT NOT NULL,
    hash     BLOB NOT NULL
) STRICT;
