-- The statements of the PostgreSQL peer of `bench search`. Each begins after a line with its name.

-- name: schema
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE TABLE item (id bigint PRIMARY KEY, name text NOT NULL, description text NOT NULL, category text NOT NULL,
                   price bigint NOT NULL);

-- name: put
COPY item (id, name, description, category, price) FROM STDIN;

-- name: build
ALTER TABLE item ADD COLUMN words tsvector GENERATED ALWAYS AS
    (setweight(to_tsvector('simple', name), 'A') || setweight(to_tsvector('simple', description), 'B')) STORED;
CREATE INDEX item_words ON item USING gin (words);

-- name: indexes
CREATE INDEX item_name_trigrams ON item USING gin (name gin_trgm_ops);
CREATE INDEX item_by_price ON item (price, id);
CREATE INDEX item_by_category ON item (category COLLATE "C", price, id);
VACUUM ANALYZE item;

-- name: words
SELECT id, name, price FROM item WHERE words @@ to_tsquery('simple', $1)
ORDER BY ts_rank(words, to_tsquery('simple', $1)) DESC, id LIMIT 11 OFFSET $2;

-- name: words: count
SELECT count(*) FROM item WHERE words @@ to_tsquery('simple', $1);

-- name: words: categories
SELECT category, count(*) FROM item WHERE words @@ to_tsquery('simple', $1) GROUP BY category;

-- name: words in category
SELECT id, name, price FROM item
WHERE words @@ to_tsquery('simple', $1) AND category >= $2 COLLATE "C" AND category < $3 COLLATE "C"
ORDER BY ts_rank(words, to_tsquery('simple', $1)) DESC, id LIMIT 11;

-- name: words in category: count
SELECT count(*) FROM item
WHERE words @@ to_tsquery('simple', $1) AND category >= $2 COLLATE "C" AND category < $3 COLLATE "C";

-- name: words in category: categories
SELECT category, count(*) FROM item
WHERE words @@ to_tsquery('simple', $1) AND category >= $2 COLLATE "C" AND category < $3 COLLATE "C"
GROUP BY category;

-- name: similar
SELECT id, name, price FROM item WHERE name %> $1 ORDER BY word_similarity($1, name) DESC, id LIMIT 11;

-- name: similar: count
SELECT count(*) FROM item WHERE name %> $1;

-- name: similar: categories
SELECT category, count(*) FROM item WHERE name %> $1 GROUP BY category;

-- name: blank
SELECT id, name, price FROM item WHERE id < $1 ORDER BY id DESC LIMIT 11;

-- name: by price
SELECT id, name, price FROM item ORDER BY price, id LIMIT 11;

-- name: blank: count
SELECT count(*) FROM item;

-- name: blank: categories
SELECT category, count(*) FROM item GROUP BY category;

-- name: category by price
SELECT id, name, price FROM item WHERE category = $1 COLLATE "C" ORDER BY price, id LIMIT 11;

-- name: category by price: count
SELECT count(*) FROM item WHERE category = $1 COLLATE "C";
