-- The statements of the SQLite FTS5 peer of `bench search`. Each begins after a line with its name.

-- name: schema
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL, category TEXT NOT NULL,
                   price INTEGER NOT NULL);
CREATE VIRTUAL TABLE f USING fts5(name, description, content='', prefix='2 3');

-- name: put
INSERT INTO item (id, name, description, category, price) VALUES (?1, ?2, ?3, ?4, ?5);

-- name: build
INSERT INTO f (rowid, name, description) SELECT id, name, description FROM item;

-- name: indexes
CREATE INDEX item_by_price ON item (price, id);
CREATE INDEX item_by_category ON item (category, price, id);
ANALYZE;

-- name: words
SELECT item.id, item.name, item.price
FROM (SELECT rowid FROM f WHERE f MATCH ?1 ORDER BY bm25(f, 8, 4) LIMIT 11 OFFSET ?2) AS best
JOIN item ON item.id = best.rowid;

-- name: words: count
SELECT count(*) FROM f WHERE f MATCH ?1;

-- name: words: categories
SELECT item.category, count(*) FROM f JOIN item ON item.id = f.rowid WHERE f MATCH ?1 GROUP BY item.category;

-- name: words in category
SELECT item.id, item.name, item.price FROM f JOIN item ON item.id = f.rowid
WHERE f MATCH ?1 AND item.category >= ?2 AND item.category < ?3 ORDER BY bm25(f, 8, 4) LIMIT 11;

-- name: words in category: count
SELECT count(*) FROM f JOIN item ON item.id = f.rowid
WHERE f MATCH ?1 AND item.category >= ?2 AND item.category < ?3;

-- name: words in category: categories
SELECT item.category, count(*) FROM f JOIN item ON item.id = f.rowid
WHERE f MATCH ?1 AND item.category >= ?2 AND item.category < ?3 GROUP BY item.category;

-- name: blank
SELECT id, name, price FROM item WHERE id < ?1 ORDER BY id DESC LIMIT 11;

-- name: by price
SELECT id, name, price FROM item ORDER BY price, id LIMIT 11;

-- name: blank: count
SELECT count(*) FROM item;

-- name: blank: categories
SELECT category, count(*) FROM item GROUP BY category;

-- name: category by price
SELECT id, name, price FROM item WHERE category = ?1 ORDER BY price, id LIMIT 11;

-- name: category by price: count
SELECT count(*) FROM item WHERE category = ?1;
