-- What is said again is stored once. A body is a list of pieces; a piece is bytes, or a list of pieces again.
CREATE TABLE pieces (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE, -- keyed, of what stands in bodies: to find it again
    uses INTEGER NOT NULL CHECK (uses >= 0), -- how many payloads and pieces hold it
    pieces TEXT, -- JSON array of ids: what it holds; NULL: nothing, `data` is its bytes
    data BLOB NOT NULL -- packed: its bytes, or what stands between the pieces that it holds
);

-- What the names of pieces are keyed with: nobody can guess a text by its name, or make another of the same name.
CREATE TABLE piece_key (key BLOB NOT NULL);
INSERT INTO piece_key VALUES (randomblob(32));

-- Heads and bodies of an exchange.
CREATE TABLE payloads (
    exchange INTEGER PRIMARY KEY REFERENCES exchanges (seq) ON DELETE CASCADE,
    request_size INTEGER NOT NULL, -- bytes that passed
    request_sha256 BLOB NOT NULL, -- of all of them; x'': not kept, because it would tell what may not be known
    response_size INTEGER NOT NULL,
    response_sha256 BLOB NOT NULL,
    head_pieces TEXT, -- JSON array of ids: pieces that hold the headers; NULL: not kept
    heads BLOB, -- what differs in the headers
    pieces TEXT, -- JSON array of ids: pieces that the bodies hold; NULL: not kept
    contents BLOB -- packed: what stands between the pieces, and the ends of bodies that were cut
);

-- Where pieces were deleted since the pages around were last written anew: SQLite moves rows between pages that are
-- half empty, and leaves copies of them in the gaps.
CREATE TABLE torn_pieces (block INTEGER PRIMARY KEY); -- of 256 ids

-- Whoever held pieces gives them back; what nobody holds any more goes. Needs `PRAGMA recursive_triggers = ON`.
CREATE VIEW released_pieces AS SELECT NULL AS pieces;
CREATE TRIGGER pieces_released INSTEAD OF INSERT ON released_pieces WHEN NEW.pieces IS NOT NULL BEGIN
    UPDATE pieces SET uses = uses - 1 WHERE id IN (SELECT value FROM json_each(NEW.pieces));
    DELETE FROM pieces WHERE uses = 0 AND id IN (SELECT value FROM json_each(NEW.pieces));
END;
CREATE TRIGGER piece_deleted AFTER DELETE ON pieces WHEN OLD.uses = 0 BEGIN
    INSERT OR IGNORE INTO torn_pieces VALUES (OLD.id / 256);
    INSERT INTO released_pieces VALUES (OLD.pieces);
END;
CREATE TRIGGER payload_deleted AFTER DELETE ON payloads BEGIN
    INSERT INTO released_pieces VALUES (OLD.pieces), (OLD.head_pieces);
END;
CREATE TRIGGER bodies_emptied AFTER UPDATE OF pieces ON payloads WHEN NEW.pieces IS NULL BEGIN
    INSERT INTO released_pieces VALUES (OLD.pieces);
END;
CREATE TRIGGER heads_emptied AFTER UPDATE OF head_pieces ON payloads WHEN NEW.head_pieces IS NULL BEGIN
    INSERT INTO released_pieces VALUES (OLD.head_pieces);
END;

-- What was recorded before this version stays as it is until retention deletes it: a row for each side, whole.
ALTER TABLE bodies RENAME TO whole_bodies;
CREATE VIEW bodies AS
SELECT exchange, 0 AS side, request_size AS size, request_sha256 AS sha256 FROM payloads
UNION ALL
SELECT exchange, 1, response_size, response_sha256 FROM payloads
UNION ALL
SELECT exchange, side, size, sha256 FROM whole_bodies;
