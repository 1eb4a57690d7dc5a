import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { takesAway } from '../destructive.mjs'

const rows: [string, string[]][] = [
  ['CREATE TABLE a (id int NOT NULL); CREATE INDEX i ON a (id)', []],
  ['ALTER TABLE a ADD COLUMN b text; ALTER TABLE a ALTER COLUMN b DROP NOT NULL', []],
  ['ALTER TABLE a ALTER b DROP DEFAULT, DROP CONSTRAINT c; DROP INDEX CONCURRENTLY i', []],
  ['INSERT INTO a VALUES (1); UPDATE a SET b = 2', []],
  ["INSERT INTO notes VALUES ('DROP TABLE a; it''s said')", []],
  ['-- DROP TABLE a\n/* TRUNCATE a */ SELECT 1', []],
  ['CREATE FUNCTION f() RETURNS void AS $$ BEGIN DELETE FROM a; END $$ LANGUAGE plpgsql', []],
  ['DO $$ BEGIN DELETE FROM a; END $$', ['DELETE FROM a']],
  ['DROP TABLE IF EXISTS public."Old"', ['DROP TABLE public."Old"']],
  ['alter table a drop column b', ['DROP column b']],
  ['ALTER TABLE a DROP b', ['DROP b']],
  ['TRUNCATE TABLE a', ['TRUNCATE a']],
  ['DELETE FROM a WHERE x', ['DELETE FROM a']],
  ['ALTER TABLE a RENAME COLUMN b TO c', ['RENAME b TO c']],
  ['ALTER TABLE a RENAME TO z', ['RENAME TO z']],
  ['ALTER TABLE a ALTER COLUMN b TYPE bigint', ['ALTER COLUMN b TYPE']],
  ['ALTER TABLE a ALTER b SET DATA TYPE bigint, ALTER c SET NOT NULL', ['ALTER COLUMN b TYPE', 'ALTER COLUMN c SET NOT NULL']],
]

for (const [sql, said] of rows) {
  test(`${sql.split('\n')[0]}: ${said.length === 0 ? 'takes nothing away' : said.join(', ')}`, () => {
    assert.deepEqual(takesAway(sql), said)
  })
}

test('no migration of this app takes anything away', () => {
  const root = join(import.meta.dirname, '..', 'prisma', 'migrations')
  const names = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  assert.ok(names.length > 0)
  for (const { name } of names) assert.deepEqual(takesAway(readFileSync(join(root, name, 'migration.sql'), 'utf8')), [], name)
})
