-- The public keys with which markets sign access tokens. A row counts only if the signature is by a market's certificate that
-- still stands, so who can write here can't make the markets accept a token.
CREATE TABLE token_key (
    id          TEXT PRIMARY KEY,
    public_key  BYTEA NOT NULL,
    -- Wall time, in microseconds.
    not_before  BIGINT NOT NULL,
    not_after   BIGINT NOT NULL,
    -- DER.
    certificate BYTEA NOT NULL,
    signature   BYTEA NOT NULL
);
