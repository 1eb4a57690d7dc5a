/**
 * Applies prisma/migrations in order, over DATABASE_DIRECT_URL.
 *
 *   node migrate.mjs            {"changed": bool, "applied": [...], "seeded": bool}
 *   node migrate.mjs --status   {"pending": [...], "destructive": [...]}, and changes nothing
 *
 * It keeps the same table, checksums and advisory lock as Prisma's own tool, so
 * either may follow the other, but needs no engine binary. Each migration goes
 * to the server as one query in one transaction: nothing splits it at
 * semicolons, and a failed one leaves no trace.
 *
 * A migration the database has and this release has not is left alone: that is
 * how an older release looks at a newer database after a rollback.
 *
 * Exit codes: 0 done, 1 failed, 2 wrong arguments, 78 wrong environment.
 */
import { createHash, randomBytes, randomUUID, scryptSync } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { takesAway } from './destructive.mjs'

// By require: the release's node_modules carries the parts the server uses.
const pg = createRequire(import.meta.url)('pg')

/** The number Prisma's tools lock, so that they and this exclude each other. */
const LOCK = 72707369
const LOCK_WAIT = '60s'
/** A migration that waits longer for a table would make all its readers wait behind it. */
const TABLE_WAIT = '10s'
const DEMO_USER = { email: 'demo@payaid.lab', password: 'demo' }

class Refusal extends Error {
  constructor(message, code = 1) {
    super(message)
    this.code = code
  }
}

function migrationsOnDisk() {
  const root = join(import.meta.dirname, 'prisma', 'migrations')
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort()
    .map((name) => {
      const bytes = readFileSync(join(root, name, 'migration.sql'))
      return { name, sql: bytes.toString('utf8'), checksum: createHash('sha256').update(bytes).digest('hex') }
    })
}

async function recorded(client) {
  const { rows } = await client.query(`SELECT to_regclass('_prisma_migrations') IS NOT NULL AS there`)
  if (!rows[0].there) return []
  const found = await client.query(
    `SELECT migration_name AS name, checksum, finished_at FROM _prisma_migrations WHERE rolled_back_at IS NULL`,
  )
  return found.rows
}

/** What is still to be applied; refuses a history that cannot be trusted. */
function pendingOf(disk, history) {
  const known = new Map(history.map((row) => [row.name, row]))
  for (const row of history) {
    if (row.finished_at === null) throw new Refusal(`Migration ${row.name} was begun and never finished: resolve it before any other is applied.`)
  }
  return disk.filter(({ name, checksum }) => {
    const row = known.get(name)
    if (row === undefined) return true
    if (row.checksum !== checksum) throw new Refusal(`Migration ${name} was changed after it had been applied: add a new migration instead.`)
    return false
  })
}

async function applyOne(client, { name, sql, checksum }) {
  await client.query('BEGIN')
  try {
    await client.query(`SET LOCAL lock_timeout = '${TABLE_WAIT}'`)
    await client.query(sql)
    // clock_timestamp, since now() is the moment the transaction began.
    await client.query(
      `INSERT INTO _prisma_migrations (id, checksum, migration_name, started_at, finished_at, applied_steps_count)
       VALUES ($1, $2, $3, now(), clock_timestamp(), 1)`,
      [randomUUID(), checksum, name],
    )
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    throw new Refusal(`Migration ${name} failed and was rolled back: ${error.message}.`)
  }
}

async function migrate(client) {
  await client.query(`SET lock_timeout = '${LOCK_WAIT}'`)
  try {
    await client.query('SELECT pg_advisory_lock($1)', [LOCK])
  } catch (error) {
    if (error.code === '55P03') throw new Refusal(`Another migration has been running for ${LOCK_WAIT}; nothing was done.`)
    throw error
  }
  const pending = pendingOf(migrationsOnDisk(), await recorded(client))
  if (pending.length > 0) {
    await client.query(`CREATE TABLE IF NOT EXISTS _prisma_migrations (
      id VARCHAR(36) PRIMARY KEY NOT NULL,
      checksum VARCHAR(64) NOT NULL,
      finished_at TIMESTAMPTZ,
      migration_name VARCHAR(255) NOT NULL,
      logs TEXT,
      rolled_back_at TIMESTAMPTZ,
      started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
      applied_steps_count INTEGER NOT NULL DEFAULT 0)`)
  }
  for (const migration of pending) {
    await applyOne(client, migration)
    console.error(`applied ${migration.name}`)
  }
  const seeded = process.env.SEED_DEMO === '1' && (await seed(client))
  return { changed: pending.length > 0 || seeded, applied: pending.map(({ name }) => name), seeded }
}

async function seed(client) {
  // Looked up first: an insert that conflicts would use up an id on every run.
  const there = await client.query('SELECT 1 FROM users WHERE email = $1', [DEMO_USER.email])
  if (there.rowCount > 0) return false
  const salt = randomBytes(16)
  const [N, r, p] = [16384, 8, 1]
  const key = scryptSync(DEMO_USER.password, salt, 32, { N, r, p })
  const hash = ['scrypt', N, r, p, salt.toString('base64url'), key.toString('base64url')].join('$')
  await client.query('INSERT INTO users (email, password_hash) VALUES ($1, $2)', [DEMO_USER.email, hash])
  return true
}

async function status(client) {
  await client.query('SET default_transaction_read_only = on')
  const pending = pendingOf(migrationsOnDisk(), await recorded(client))
  return {
    pending: pending.map(({ name }) => name),
    destructive: pending.flatMap(({ name, sql }) => takesAway(sql).map((what) => `${name}: ${what}`)),
  }
}

async function main(args) {
  if (args.length > 1 || (args.length === 1 && args[0] !== '--status')) throw new Refusal('Usage: node migrate.mjs [--status]', 2)
  const url = process.env.DATABASE_DIRECT_URL ?? ''
  if (!/^postgres(ql)?:\/\//.test(url)) {
    throw new Refusal('DATABASE_DIRECT_URL must hold the PostgreSQL URL of the primary itself, past any pooler.', 78)
  }
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000, application_name: 'payaid-migrate' })
  client.on('error', () => {})
  try {
    await client.connect()
    console.log(JSON.stringify(await (args.length === 1 ? status : migrate)(client)))
  } finally {
    // The server drops the advisory lock with the session.
    await client.end().catch(() => {})
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error instanceof Refusal ? error.message : `The migration could not run: ${error.message || error.code}.`)
  process.exitCode = error instanceof Refusal ? error.code : 1
})
