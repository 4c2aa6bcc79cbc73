-- What people and programs said of answers, by the id of the request: a row may be there before its request is.
-- Who says something under the same name again says it instead.
CREATE TABLE feedback (
    request TEXT NOT NULL,
    name TEXT NOT NULL, -- what was judged: `user`, or a name of the sender's own
    source TEXT NOT NULL, -- who said it, as the audit names them
    at INTEGER NOT NULL, -- Unix ms
    value REAL NOT NULL, -- from 0, bad, to 1, good
    comment TEXT,
    PRIMARY KEY (request, name, source)
) WITHOUT ROWID;
CREATE INDEX feedback_by_time ON feedback (at, value);
CREATE INDEX feedback_with_comments ON feedback (at) WHERE comment IS NOT NULL;
CREATE TRIGGER feedback_deleted AFTER DELETE ON exchanges BEGIN
    DELETE FROM feedback WHERE request = OLD.id;
END;
