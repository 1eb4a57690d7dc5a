import type { PoolClient } from 'pg'
import { BadInput, idOf } from './validate'

/** The longest a job may be made to last for a test. */
const MOST_MS = 30_000

export interface NewJob {
  readonly kind: Kind
  readonly contactId: bigint
  /** How long the worker is to hold the job before its effect; for tests. */
  readonly durationMs: number
}

/** As it stands in the database: ids as text, since JSON has no large integers. */
export interface JobInput {
  readonly contact_id: string
  readonly duration_ms?: number
}

/** Thrown by a kind: the job cannot ever succeed, and trying again would change nothing. */
export class JobFailed extends Error {}

/**
 * What each kind does, inside the transaction that records the job as done: it
 * happens together with that record or not at all, and so once. What is outside
 * this database (an e-mail, a payment) would be given the job's id as its key.
 */
export const effects = {
  /** Puts a welcome message into the contact's inbox. */
  async welcome(tx: PoolClient, tenant: string, job: string, input: JobInput): Promise<Record<string, unknown>> {
    const { rows } = await tx.query<{ id: string }>(
      `INSERT INTO messages (tenant_id, contact_id, job_id, body)
       SELECT tenant_id, id, $3, 'Welcome, ' || name || '!' FROM contacts WHERE id = $1 AND tenant_id = $2
       RETURNING id`,
      [input.contact_id, tenant, job],
    )
    const message = rows[0]
    if (message === undefined) throw new JobFailed('The contact does not exist any more.')
    return { message_id: Number(message.id) }
  },
} as const

export type Kind = keyof typeof effects
export const KINDS = Object.keys(effects) as readonly Kind[]

function isKind(kind: unknown): kind is Kind {
  return typeof kind === 'string' && Object.hasOwn(effects, kind)
}

export function newJobOf(body: unknown, testRoutes: boolean): NewJob {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new BadInput('The body must be a JSON object with kind and contact_id.')
  const { kind, contact_id: contact, duration_ms: duration = 0 } = body as Record<string, unknown>
  if (!isKind(kind)) throw new BadInput(`kind must be one of: ${KINDS.join(', ')}.`)
  const contactId = typeof contact === 'number' && Number.isSafeInteger(contact) ? idOf(String(contact)) : null
  if (contactId === null) throw new BadInput('contact_id must be the number of a contact.')
  if (duration !== 0 && !testRoutes) throw new BadInput('duration_ms is taken only where the test routes are.')
  if (typeof duration !== 'number' || !Number.isInteger(duration) || duration < 0 || duration > MOST_MS) {
    throw new BadInput(`duration_ms must be a whole number from 0 to ${MOST_MS}.`)
  }
  return { kind, contactId, durationMs: duration }
}

export const inputOf = ({ contactId, durationMs }: NewJob): JobInput => ({
  contact_id: String(contactId),
  ...(durationMs > 0 && { duration_ms: durationMs }),
})
