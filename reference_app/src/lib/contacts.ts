import { createHash } from 'node:crypto'
import type { Contact as Row } from '@/generated/prisma/client'
import { cached, invalidateByTag, lastWrite, type Loaded } from './cache'
import { CacheTag } from './cache-keys'
import { KeyReused, onPrimary, read, writePosition } from './db'
import { laterOf } from './lsn'
import { complain } from './shared'
import type { NewContact } from './validate'

export interface Contact {
  readonly id: number
  readonly name: string
  readonly email: string
  readonly created_at: string
}

const LIST_LENGTH = 50
const KEY_HOURS = 24

// A sequence gives numbers far below 2^53, so a JSON number holds them exactly.
const present = (row: Row): Contact => ({
  id: Number(row.id),
  name: row.name,
  email: row.email,
  created_at: row.createdAt.toISOString(),
})

export function listContacts(tenant: string, seen: number | null): Promise<Loaded<Contact[]>> {
  return cached(tenant, CacheTag.CONTACT, 'contacts', seen, async (atLeast) => {
    const { value, source } = await read(
      (db) => db.contact.findMany({ where: { tenantId: tenant }, orderBy: [{ createdAt: 'desc' }, { id: 'desc' }], take: LIST_LENGTH }),
      atLeast,
    )
    return { value: value.map(present), source }
  })
}

/** Not cached: a primary key look-up costs little, and a missing row is looked for on the primary before it is called missing. */
export async function findContact(tenant: string, id: bigint, seen: number | null): Promise<Contact | null> {
  const atLeast = laterOf(seen, await lastWrite(tenant, CacheTag.CONTACT))
  const { value } = await read((db) => db.contact.findFirst({ where: { id, tenantId: tenant } }), atLeast, (row) => row !== null)
  return value === null ? null : present(value)
}

export interface Stats {
  readonly contacts: number
  readonly added_last_24h: number
  readonly newest_at: string | null
  readonly generated_at: string
}

export function dashboardStats(tenant: string, seen: number | null): Promise<Loaded<Stats>> {
  return cached(tenant, CacheTag.CONTACT, 'stats', seen, async (atLeast) => {
    const { value, source } = await read(
      (db) => db.$queryRaw<Array<{ total: bigint; recent: bigint; newest: Date | null }>>`
        SELECT count(*) AS total,
               count(*) FILTER (WHERE created_at > now() - interval '24 hours') AS recent,
               max(created_at) AS newest
        FROM contacts WHERE tenant_id = ${tenant}`,
      atLeast,
    )
    const row = value[0]!
    return {
      value: {
        contacts: Number(row.total),
        added_last_24h: Number(row.recent),
        newest_at: row.newest?.toISOString() ?? null,
        generated_at: new Date().toISOString(),
      },
      source,
    }
  })
}

export interface Created {
  readonly contact: Contact
  readonly position: number
  /** Whether an earlier request with the same Idempotency-Key made the row. */
  readonly repeated: boolean
}

export async function createContact(tenant: string, input: NewContact, key: string | null): Promise<Created> {
  const { row, repeated } =
    key === null
      ? { row: await onPrimary((db) => db.contact.create({ data: { tenantId: tenant, ...input } }), false), repeated: false }
      : await createOnce(tenant, input, key)
  const position = await writePosition()
  await invalidateByTag(CacheTag.CONTACT, tenant, position)
  return { contact: present(row), position, repeated }
}

/** Repeatable, unlike a plain insert, and so tried again by onPrimary when a connection breaks. */
async function createOnce(tenant: string, input: NewContact, key: string): Promise<{ row: Row; repeated: boolean }> {
  const requestHash = createHash('sha256').update(JSON.stringify([input.name, input.email])).digest('hex')
  const result = await onPrimary(
    (db) =>
      db.$transaction(
        async (tx) => {
          // A twin in flight holds the key's row: this waits for its commit.
          const claimed = await tx.$executeRaw`
            INSERT INTO idempotency_keys (tenant_id, key, request_hash) VALUES (${tenant}, ${key}, ${requestHash})
            ON CONFLICT (tenant_id, key) DO NOTHING`
          const where = { tenantId_key: { tenantId: tenant, key } }
          if (claimed === 1) {
            const row = await tx.contact.create({ data: { tenantId: tenant, ...input } })
            await tx.idempotencyKey.update({ where, data: { contactId: row.id } })
            return { row, repeated: false }
          }
          const earlier = await tx.idempotencyKey.findUniqueOrThrow({ where, include: { contact: true } })
          if (earlier.requestHash !== requestHash || earlier.contact === null) {
            throw new KeyReused('This Idempotency-Key was used with another body.')
          }
          return { row: earlier.contact, repeated: true }
        },
        { maxWait: 5000, timeout: 10_000 },
      ),
    true,
  )
  if (!result.repeated && Math.random() < 0.01) void forgetOldKeys()
  return result
}

/** A little housekeeping now and then keeps the table bounded without a job of its own. */
async function forgetOldKeys(): Promise<void> {
  try {
    await onPrimary(
      (db) => db.$executeRaw`
        DELETE FROM idempotency_keys WHERE (tenant_id, key) IN (
          SELECT tenant_id, key FROM idempotency_keys
          WHERE created_at < now() - ${KEY_HOURS}::int * interval '1 hour' LIMIT 1000)`,
      false,
    )
  } catch (error) {
    complain('idempotency keys', error)
  }
}
