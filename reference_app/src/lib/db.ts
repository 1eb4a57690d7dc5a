import { PrismaPg } from '@prisma/adapter-pg'
import type pg from 'pg'
import { PrismaClient } from '@/generated/prisma/client'
import type { Prisma } from '@/generated/prisma/client'
import type { Loaded } from './cache'
import { formatLsn, parseLsn, UNREACHABLE } from './lsn'
import { metrics } from './metrics'
import { primaryPool, replicaPool } from './pools'
import { closeAtExit, complain, single } from './shared'

export class DatabaseUnavailable extends Error {}

export interface Database {
  readonly name: 'primary' | 'replica'
  readonly pool: pg.Pool
  readonly prisma: PrismaClient
}

/** How long reads leave the read pool alone after it failed one. */
const PAUSE_MS = 1000

function open(pool: pg.Pool, name: Database['name']): Database {
  const prisma = new PrismaClient({ adapter: new PrismaPg(pool), log: [] })
  closeAtExit(() => prisma.$disconnect())
  return { name, pool, prisma }
}

export const primary = () => single('primary', () => open(primaryPool(), 'primary'))

/** null when reads have no pool of their own. */
export const replica = () =>
  single('replica', () => {
    const pool = replicaPool()
    return { database: pool === null ? null : open(pool, 'replica') }
  }).database

const pause = () => single('replica-pause', () => ({ until: 0 }))

async function timed<T>(pool: Database['name'], work: () => Promise<T>): Promise<T> {
  const start = process.hrtime.bigint()
  try {
    return await work()
  } finally {
    metrics().queries.observe({ pool }, Number(process.hrtime.bigint() - start) / 1e9)
  }
}

type Query<T> = (prisma: PrismaClient) => Prisma.PrismaPromise<T>

/**
 * Reads from the replica if it has replayed `atLeast`, else from the primary.
 * `enough` may reject a replica's answer, such as a row not found there yet.
 */
export async function read<T>(query: Query<T>, atLeast: number | null, enough: (value: T) => boolean = () => true): Promise<Loaded<T>> {
  const second = replica()
  if (second !== null && pause().until <= Date.now()) {
    try {
      const answer = await timed('replica', () => fromReplica(second.prisma, query, atLeast))
      if (answer.fresh && enough(answer.value)) return { value: answer.value, source: 'replica' }
    } catch (error) {
      complain('database replica', error)
      pause().until = Date.now() + PAUSE_MS
    }
  }
  if (second !== null) metrics().fallbacks.add()
  return { value: await onPrimary((prisma) => query(prisma), true), source: 'primary' }
}

async function fromReplica<T>(prisma: PrismaClient, query: Query<T>, atLeast: number | null): Promise<{ fresh: boolean; value: T }> {
  if (atLeast === null) return { fresh: true, value: await query(prisma) }
  // One transaction, so that a pooler over several replicas answers both from
  // the same one; position first, so that the rows are no older than it.
  const position = formatLsn(atLeast)
  const [rows, value] = await prisma.$transaction([
    prisma.$queryRaw<Array<{ fresh: boolean | null }>>`
      SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() >= ${position}::pg_lsn ELSE true END AS fresh`,
    query(prisma),
  ])
  return { fresh: rows[0]?.fresh === true, value }
}

/** Runs on the primary. `repeatable` work is tried once more when its connection broke. */
export async function onPrimary<T>(work: (prisma: PrismaClient) => Promise<T>, repeatable: boolean): Promise<T> {
  const { prisma } = primary()
  try {
    return await timed('primary', () => work(prisma))
  } catch (first) {
    if (first instanceof BusinessError) throw first
    let error: unknown = first
    if (repeatable) {
      try {
        return await timed('primary', () => work(prisma))
      } catch (second) {
        if (second instanceof BusinessError) throw second
        error = second
      }
    }
    complain('database primary', error)
    throw new DatabaseUnavailable('the primary database does not answer', { cause: error })
  }
}

/** Thrown inside database work to say something to the client; not a failure of the database. */
export class BusinessError extends Error {}

/** An Idempotency-Key that came with another body before. */
export class KeyReused extends BusinessError {}

/** Asked after the commit: a replica that has replayed this far has the write. */
export async function writePosition(): Promise<number> {
  try {
    const { rows } = await primary().pool.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')
    return parseLsn(rows[0]?.lsn) ?? UNREACHABLE
  } catch (error) {
    // The row is committed all the same: readers then go to the primary.
    complain('database primary', error)
    return UNREACHABLE
  }
}
