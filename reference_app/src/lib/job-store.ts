import type { Pool, PoolClient } from 'pg'
import { effects, type JobInput, KINDS, type Kind } from './job-kinds'
import type { Whoami } from './whoami'

/**
 * The jobs as PostgreSQL has them, which is what counts: Redis only tells the
 * workers where to look. Every step is one statement or one transaction, so it
 * suits a pooler in transaction mode, and a worker may be killed between any two.
 */

export type State = 'waiting' | 'active' | 'completed' | 'failed'

/** How often a job is begun before it counts as failed. */
export const MOST_ATTEMPTS = 5
/** A worker that says nothing for so long no longer holds its jobs. */
export const LEASE_SECONDS = 15
/** How long a job may wait before the sweep looks whether Redis knows of it. */
export const REDISPATCH_SECONDS = 10
/** How long a finished job can be asked for. */
const KEEP_DAYS = 7
const SWEEP_MOST = 500

export interface Taken {
  readonly id: string
  readonly tenant: string
  readonly kind: Kind
  readonly input: JobInput
}

/**
 * Takes the job for a worker, or null: it is done, another worker holds it, or
 * this release does not know its kind. Committed by itself and before the work,
 * so that `attempts` tells how often the job was begun, whatever came of it.
 */
export async function take(pool: Pool, id: string, worker: string): Promise<Taken | null> {
  const { rows } = await pool.query<{ tenant_id: string; kind: Kind; input: JobInput }>(
    `UPDATE jobs SET state = 'active', attempts = attempts + 1, worker = $2, due_at = now() + $3::int * interval '1 second'
     WHERE id = $1 AND kind = ANY ($4) AND attempts < $5
       AND (state = 'waiting' OR (state = 'active' AND due_at <= now()))
     RETURNING tenant_id, kind, input`,
    [id, worker, LEASE_SECONDS, KINDS, MOST_ATTEMPTS],
  )
  const row = rows[0]
  return row === undefined ? null : { id, tenant: row.tenant_id, kind: row.kind, input: row.input }
}

/** Extends the lease of all that the worker still holds. */
export async function keep(pool: Pool, ids: readonly string[], worker: string): Promise<void> {
  await pool.query(
    `UPDATE jobs SET due_at = now() + $3::int * interval '1 second' WHERE id = ANY ($1) AND worker = $2 AND state = 'active'`,
    [ids, worker, LEASE_SECONDS],
  )
}

/**
 * Does what the job is for and records it, in one transaction; false when that
 * had happened before. A second worker with the same job waits at the first
 * statement until the first one has committed, and then finds the row.
 */
export async function finish(pool: Pool, job: Taken, { node, process, release }: Whoami): Promise<boolean> {
  return inTransaction(pool, async (tx) => {
    const { rowCount } = await tx.query(
      'INSERT INTO job_results (job_id, node, process, release) VALUES ($1, $2, $3, $4) ON CONFLICT (job_id) DO NOTHING',
      [job.id, node, process, release],
    )
    if (rowCount === 0) return false
    const result = await effects[job.kind](tx, job.tenant, job.id, job.input)
    await tx.query('UPDATE job_results SET result = $2 WHERE job_id = $1', [job.id, JSON.stringify(result)])
    await tx.query(`UPDATE jobs SET state = 'completed', error = NULL, finished_at = now() WHERE id = $1`, [job.id])
    return true
  })
}

async function inTransaction<T>(pool: Pool, work: (tx: PoolClient) => Promise<T>): Promise<T> {
  const tx = await pool.connect()
  let broken: Error | undefined
  const lost = (error: Error) => void (broken = error)
  // Out of the pool nobody else listens, and an error that nobody listens to would end the process.
  tx.on('error', lost)
  try {
    await tx.query('BEGIN')
    const value = await work(tx)
    await tx.query('COMMIT')
    return value
  } catch (error) {
    // A connection that cannot even roll back must not be used again.
    await tx.query('ROLLBACK').catch(lost)
    throw error
  } finally {
    tx.off('error', lost)
    tx.release(broken)
  }
}

/** Puts down a job that this worker could not do: for another try, or, with `final` or after the last one, as failed. */
export async function putDown(pool: Pool, id: string, worker: string, error: string, final: boolean): Promise<void> {
  await pool.query(
    `UPDATE jobs SET state = t.state, error = $3, due_at = now() + interval '3 seconds',
       finished_at = CASE WHEN t.state = 'failed' THEN now() END
     FROM (SELECT id, CASE WHEN $4 OR attempts >= $5 THEN 'failed' ELSE 'waiting' END AS state FROM jobs WHERE id = $1) AS t
     WHERE jobs.id = t.id AND worker = $2 AND jobs.state = 'active'`,
    [id, worker, error, final, MOST_ATTEMPTS],
  )
}

/** Gives back all that the worker holds, for others to begin again at once. */
export async function giveBack(pool: Pool, worker: string): Promise<number> {
  const { rowCount } = await pool.query(`UPDATE jobs SET state = 'waiting', due_at = now() WHERE worker = $1 AND state = 'active'`, [worker])
  return rowCount ?? 0
}

export interface Due {
  readonly id: string
  readonly kind: string
}

/**
 * The jobs to look after: those nobody began in time, and those whose worker
 * has gone. Each is returned to one sweeper only, and not again for a while.
 */
export async function due(pool: Pool): Promise<Due[]> {
  const { rows } = await pool.query<Due & { state: State }>(
    `UPDATE jobs SET state = t.state, due_at = now() + $2::int * interval '1 second',
       error = CASE WHEN t.state = 'failed' THEN coalesce(error, 'It was begun too often and never finished.') ELSE error END,
       finished_at = CASE WHEN t.state = 'failed' THEN now() END
     FROM (SELECT id, CASE WHEN attempts >= $3 THEN 'failed' ELSE 'waiting' END AS state
           FROM jobs WHERE state IN ('waiting', 'active') AND due_at <= now()
           ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED) AS t
     WHERE jobs.id = t.id
     RETURNING jobs.id, jobs.kind, jobs.state`,
    [SWEEP_MOST, REDISPATCH_SECONDS, MOST_ATTEMPTS],
  )
  return rows.filter(({ state }) => state === 'waiting').map(({ id, kind }) => ({ id, kind }))
}

/** Forgets what was finished long ago. */
export async function forget(pool: Pool): Promise<void> {
  await pool.query(
    `DELETE FROM jobs WHERE id IN (
       SELECT id FROM jobs WHERE finished_at < now() - $1::int * interval '1 day' ORDER BY finished_at LIMIT 1000)`,
    [KEEP_DAYS],
  )
}

export interface Open {
  readonly waiting: number
  readonly active: number
  /** Age of the job that has waited longest, in seconds. */
  readonly oldest: number
}

export async function open(pool: Pool): Promise<Open> {
  const { rows } = await pool.query<Record<keyof Open, string>>(
    `SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting, count(*) FILTER (WHERE state = 'active') AS active,
       coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE state = 'waiting')), 0) AS oldest
     FROM jobs WHERE state IN ('waiting', 'active')`,
  )
  const row = rows[0]!
  return { waiting: Number(row.waiting), active: Number(row.active), oldest: Number(row.oldest) }
}
