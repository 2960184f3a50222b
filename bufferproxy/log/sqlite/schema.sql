-- Format 3. Every partition has a table of its own, made with its first record: `batches_<id>`, or
-- `records_<id>` where the topic is compact. (Format 2 made them all at once, and is read as well.) Appends then always go to the right edge of a tree, and what is settled leaves whole
-- pages behind.

CREATE TABLE topics (
  id          INTEGER PRIMARY KEY,
  name        TEXT NOT NULL UNIQUE,
  partitions  INTEGER NOT NULL,
  compact     INTEGER NOT NULL
);

-- `start`: no record below it is kept, though its batch may be. `start_total`: bytes of all values that were
-- ever stored below it.
CREATE TABLE partitions (
  id           INTEGER PRIMARY KEY,
  topic        INTEGER NOT NULL REFERENCES topics (id),
  number       INTEGER NOT NULL,
  start        INTEGER NOT NULL DEFAULT 0,
  start_total  INTEGER NOT NULL DEFAULT 0,
  UNIQUE (topic, number)
);

-- `next`: the offset that the group reads next; `marks`: what was told beside it.
CREATE TABLE offsets (
  "group"    TEXT NOT NULL,
  partition  INTEGER NOT NULL REFERENCES partitions (id),
  next       INTEGER NOT NULL,
  marks      TEXT NOT NULL,
  PRIMARY KEY ("group", partition)
) WITHOUT ROWID;

-- How often the file was opened: the leases of a later time have higher epochs.
CREATE TABLE incarnations (number INTEGER NOT NULL);
INSERT INTO incarnations VALUES (0);
