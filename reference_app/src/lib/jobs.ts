import { KeyReused, onPrimary, primary } from './db'
import { env } from './env'
import { inputOf, type NewJob } from './job-kinds'
import { REDISPATCH_SECONDS, type State } from './job-store'
import { metrics } from './metrics'
import { dispatchOptions, openQueue } from './queue'
import { redis } from './redis'
import { complain, single, within } from './shared'
import { BadInput } from './validate'

export interface Job {
  readonly id: number
  readonly kind: string
  readonly state: State
  readonly attempts: number
  readonly result: unknown
  readonly error: string | null
  readonly done_by: { readonly node: string; readonly process: string; readonly release: string } | null
  readonly created_at: string
  readonly finished_at: string | null
}

/** How long the dispatch leaves Redis alone after it failed one. */
const PAUSE_MS = 1000

/**
 * Accepts a job: its row is committed on the primary when this returns. Then
 * the workers are told through Redis; if that fails they find the row themselves
 * a few seconds later, so it is no failure of the request.
 */
export async function createJob(tenant: string, job: NewJob, key: string | null): Promise<{ id: number; repeated: boolean }> {
  const made = await onPrimary(() => insert(tenant, job, key), key !== null)
  if (made === null) throw new BadInput('contact_id names no contact of this tenant.')
  const { id, repeated } = made
  if (!repeated) {
    metrics().jobs.accepted.add()
    if (!(await dispatch(id, job.kind))) metrics().jobs.undispatched.add()
  }
  return { id: Number(id), repeated }
}

async function insert(tenant: string, job: NewJob, key: string | null): Promise<{ id: string; repeated: boolean } | null> {
  const { pool } = primary()
  const input = JSON.stringify(inputOf(job))
  const made = await pool.query<{ id: string }>(
    `INSERT INTO jobs (tenant_id, kind, input, idempotency_key, due_at)
     SELECT $1, $2, $3::jsonb, $4, now() + $6::int * interval '1 second'
     WHERE EXISTS (SELECT FROM contacts WHERE id = $5 AND tenant_id = $1)
     ON CONFLICT (tenant_id, idempotency_key) DO NOTHING RETURNING id`,
    [tenant, job.kind, input, key, job.contactId, REDISPATCH_SECONDS],
  )
  if (made.rows[0] !== undefined) return { id: made.rows[0].id, repeated: false }
  const earlier = await pool.query<{ id: string; same: boolean }>(
    'SELECT id, kind = $3 AND input = $4 AS same FROM jobs WHERE tenant_id = $1 AND idempotency_key = $2',
    [tenant, key, job.kind, input],
  )
  const row = earlier.rows[0]
  if (row === undefined) return null
  if (!row.same) throw new KeyReused('This Idempotency-Key was used with another body.')
  return { id: row.id, repeated: true }
}

async function dispatch(id: string, kind: string): Promise<boolean> {
  const pause = single('dispatch-pause', () => ({ until: 0 }))
  if (pause.until > Date.now()) return false
  try {
    const queue = single('queue', () => openQueue(redis()))
    await within(env().redis.timeoutMs, 'Redis', queue.add(kind, {}, dispatchOptions(id)))
    return true
  } catch (error) {
    complain('dispatch', error)
    pause.until = Date.now() + PAUSE_MS
    return false
  }
}

/** Asked of the primary: whoever waits for a job asks again and again, and a replica would only say it later. */
export async function findJob(tenant: string, id: bigint): Promise<Job | null> {
  const { rows } = await onPrimary(
    () =>
      primary().pool.query<{
        kind: string; state: State; attempts: number; result: unknown; error: string | null
        node: string | null; process: string | null; release: string | null; created_at: Date; finished_at: Date | null
      }>(
        `SELECT kind, state, attempts, result, error, node, process, release, j.created_at, finished_at
         FROM jobs j LEFT JOIN job_results ON job_id = id WHERE id = $1 AND tenant_id = $2`,
        [id, tenant],
      ),
    true,
  )
  const row = rows[0]
  if (row === undefined) return null
  const { kind, state, attempts, result, error, node, process, release } = row
  return {
    id: Number(id),
    kind,
    state,
    attempts,
    result,
    error,
    done_by: node === null || process === null || release === null ? null : { node, process, release },
    created_at: row.created_at.toISOString(),
    finished_at: row.finished_at?.toISOString() ?? null,
  }
}

export interface Message {
  readonly id: number
  readonly job_id: number
  readonly body: string
  readonly created_at: string
}

const MESSAGES = 50

/** The contact's messages, newest first, and how many there are in all. */
export async function listMessages(tenant: string, contact: bigint): Promise<{ count: number; messages: Message[] }> {
  const { rows } = await onPrimary(
    () =>
      primary().pool.query<{ id: string; job_id: string; body: string; created_at: Date; total: string }>(
        `SELECT id, job_id, body, created_at, count(*) OVER () AS total
         FROM messages WHERE contact_id = $1 AND tenant_id = $2 ORDER BY id DESC LIMIT $3`,
        [contact, tenant, MESSAGES],
      ),
    true,
  )
  return {
    count: Number(rows[0]?.total ?? 0),
    messages: rows.map((row) => ({ id: Number(row.id), job_id: Number(row.job_id), body: row.body, created_at: row.created_at.toISOString() })),
  }
}
