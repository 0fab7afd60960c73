-- Rides, and where they have been. Places are in ten-millionths of a degree.

CREATE TABLE ride (
    id     BLOB PRIMARY KEY CHECK (length(id) = 16),
    seller BLOB NOT NULL,
    body   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE orders ADD COLUMN ride BLOB;

CREATE TABLE track (
    ride      BLOB NOT NULL,
    sequence  INTEGER NOT NULL,
    latitude  INTEGER NOT NULL,
    longitude INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    meters    REAL NOT NULL,
    PRIMARY KEY (ride, sequence)
) STRICT, WITHOUT ROWID;

CREATE INDEX track_by_time ON track (at);
