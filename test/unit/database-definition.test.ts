import { describe, expect, test } from 'vitest'
import { sqlite } from '../../src/database/sqlite.ts'
import { EngineError } from '../../src/errors.ts'

const refused = (ddl: string): EngineError => {
  try {
    sqlite(ddl)
  } catch (error) {
    expect(error).toBeInstanceOf(EngineError)
    return error as EngineError
  }
  throw new Error(`was not refused: ${ddl}`)
}

describe('a definition may hold', () => {
  test.each([
    [''],
    ['-- nothing yet'],
    ["CREATE TABLE a (x INTEGER PRIMARY KEY AUTOINCREMENT, y TEXT NOT NULL DEFAULT 'now', z REAL DEFAULT (1.5)) STRICT"],
    ['CREATE TABLE a (x TEXT PRIMARY KEY, y TEXT) STRICT, WITHOUT ROWID; CREATE UNIQUE INDEX a_y ON a (lower(y)) WHERE y IS NOT NULL'],
    ['CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p INTEGER NOT NULL REFERENCES p ON DELETE CASCADE)'],
    // Declared in any order.
    ['CREATE TABLE c (p INTEGER NOT NULL REFERENCES p); CREATE TABLE p (id INTEGER PRIMARY KEY)'],
    [
      "CREATE TABLE a (at TEXT, day TEXT AS (date(at, '+1 day')) STORED, CHECK (date(at) IS NOT NULL)); CREATE INDEX a_month ON a (strftime('%m', at))",
    ],
    ['CREATE TABLE a (x); CREATE TABLE b (x); CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO b VALUES (date(new.x)); END'],
    // Views are read by queries too, and those may ask the clock.
    ["CREATE TABLE a (due TEXT); CREATE VIEW late AS SELECT due, random() AS r FROM a WHERE due < date('now', 'localtime')"],
    [
      'CREATE TABLE a (x); CREATE VIEW v AS SELECT x FROM a; CREATE TRIGGER t INSTEAD OF INSERT ON v BEGIN INSERT INTO a VALUES (new.x); END',
    ],
    // Names that look like calls.
    [
      'CREATE TABLE date (changes TEXT); CREATE INDEX time ON date (changes); CREATE TABLE random (x REFERENCES date (rowid))'.replace(
        ' REFERENCES date (rowid)',
        '',
      ),
    ],
    ["CREATE TABLE a (x TEXT DEFAULT 'date(''now'')') /* date('now') */ -- random()\n"],
  ])('%s', ddl => expect(sqlite(ddl)).toEqual({ kind: 'sqlite', definition: ddl }))
})

describe('a definition is refused', () => {
  test.each([
    ['CREATE TABLE a (x', /incomplete input/],
    ['CREATE TABLE a (x); CREATE TABLE a (x)', /already exists/],
    ['CREATE VIEW v AS SELECT * FROM nowhere', /view v cannot be read: no such table/],
    ['CREATE TABLE a (x REFERENCES nowhere)', /table a cannot be written: no such table/],
    ['CREATE TABLE a (x); CREATE TRIGGER t AFTER DELETE ON a BEGIN DELETE FROM nowhere; END', /no such table/],
    ['INSERT INTO sqlite_sequence VALUES (1, 2)', /cannot be created/],
    ['CREATE TABLE a (x); INSERT INTO a VALUES (1)', /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ['CREATE TABLE a (x); UPDATE a SET x = 1', /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ['CREATE TABLE a (x); DELETE FROM a', /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ['PRAGMA journal_mode = OFF', /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ["ATTACH 'x.db' AS x", /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ['CREATE TABLE a AS SELECT 1 AS x', /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ['CREATE TEMP TABLE a (x)', /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ['CREATE VIRTUAL TABLE a USING fts5 (x)', /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ['BEGIN; CREATE TABLE a (x)', /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ['SAVEPOINT a; CREATE TABLE a (x)', /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ['CREATE TABLE a (x); DROP TABLE a', /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ['CREATE TABLE a (x); ALTER TABLE a ADD COLUMN y', /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ['SELECT 1', /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ['ANALYZE', /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ['VACUUM', /CREATE TABLE, INDEX, VIEW and TRIGGER only/],
    ['CREATE TABLE mainstem_a (x)', /mainstem_a is reserved/],
    ['CREATE TABLE a (x); CREATE INDEX "MAINSTEM_i" ON a (x)', /mainstem_i is reserved/],
    ['CREATE VIEW v AS SELECT * FROM [Mainstem_id]', /mainstem_id is reserved/],
    ['CREATE TABLE a (x); CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM mainstem_id; END', /mainstem_id is reserved/],
    ['CREATE TABLE a (x DEFAULT CURRENT_TIMESTAMP)', /default of a\.x .*current_timestamp\(\) reads the clock.*meta\.at/],
    ['CREATE TABLE a (x DEFAULT (random()))', /default of a\.x .*random\(\) gives every replica another number/],
    ['CREATE TABLE a (x DEFAULT (1 + last_insert_rowid()))', /last_insert_rowid\(\) depends on/],
    ["CREATE TABLE a (x DEFAULT (date('now')))", /date\('now'\) reads the clock/],
    ["CREATE TABLE a (x DEFAULT (date('no' || 'w')))", /default of a\.x .*date\('now'\) reads the clock/],
    ['CREATE TABLE a (x CHECK (x <> random()))', /random\(\) gives every replica another number/],
    ["CREATE TABLE a (x CHECK (x < date('NOW', '+1 day')))", /table a: date\('now'\) reads the clock/],
    ['CREATE TABLE a (x CHECK (x < unixepoch()))', /unixepoch\(\) without a time reads the clock/],
    ["CREATE TABLE a (x CHECK (x < unixepoch('subsec')))", /unixepoch\('subsec'\) reads the clock/],
    ["CREATE TABLE a (x CHECK (x < strftime('%s')))", /strftime\(\) without a time reads the clock/],
    ["CREATE TABLE a (x, y AS (datetime(x, 'localtime')))", /depends on the time zone/],
    ["CREATE TABLE a (x); CREATE INDEX i ON a (datetime(x, 'utc'))", /depends on the time zone/],
    ['CREATE TABLE a (x, y AS (random()))', /non-deterministic|gives every replica/],
    ['CREATE TABLE a (x); CREATE TRIGGER t AFTER UPDATE OF x ON a BEGIN UPDATE a SET x = random(); END', /random\(\) gives every replica/],
    ['CREATE TABLE a (x); CREATE TRIGGER t AFTER DELETE ON a WHEN changes() > 1 BEGIN SELECT 1; END', /changes\(\) depends on/],
    [
      'CREATE TABLE a (x); CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET x = max(1, "date" ( /* */ \'now\')); END',
      /trigger t: date\('now'\) reads the clock/,
    ],
    [
      'CREATE TABLE a (x); CREATE VIEW v AS SELECT x FROM a; CREATE TRIGGER t INSTEAD OF INSERT ON v BEGIN INSERT INTO a VALUES (random()); END',
      /random\(\)/,
    ],
    ['CREATE TABLE a (x DEFAULT (sqlite_version()))', /sqlite_version\(\) differs between replicas/],
    ["CREATE TABLE a (x DEFAULT (load_extension('x')))", /load_extension\(\) is not available/],
    [
      'CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE a (x REFERENCES p DEFERRABLE INITIALLY DEFERRED)',
      /judged when the transaction commits/,
    ],
    ['CREATE TABLE a (x UNIQUE ON CONFLICT ROLLBACK)', /would undo other commands/],
    ["CREATE TABLE a (x); CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT RAISE (ROLLBACK, 'no'); END", /would undo other commands/],
    ['CREATE TABLE a (x); CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT OR ROLLBACK INTO a VALUES (1); END', /would undo other commands/],
    ['CREATE TABLE a (x);\0 CREATE TABLE b (x)', /NUL/],
  ])('%j', (ddl, message) => {
    const error = refused(ddl)
    expect(error.code).toBe('invalid-app')
    expect(error.message).toMatch(message)
  })
})
