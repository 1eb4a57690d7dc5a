/** What a cached entry depends on. A write names the tags it touches. */
export const CacheTag = { CONTACT: 'contact' } as const
export type CacheTag = (typeof CacheTag)[keyof typeof CacheTag]

/**
 * All keys of a tenant carry the same hash tag and so share one cluster slot:
 * that lets one command read an entry together with its tag, and one
 * transaction move a tag. The tenant is validated before it comes here, so it
 * cannot contain a brace.
 */
function prefix(tenant: string): string {
  return `{t:${tenant}}`
}

export const entryKey = (tenant: string, name: string): string => `${prefix(tenant)}:entry:${name}`
export const tagKey = (tenant: string, tag: CacheTag): string => `${prefix(tenant)}:tag:${tag}`
export const writtenKey = (tenant: string): string => `${prefix(tenant)}:written`

interface Entry {
  readonly key: string
  readonly tag: string
  readonly value: unknown
}

export function encodeEntry(key: string, token: string, value: unknown): string {
  return JSON.stringify({ key, tag: token, value } satisfies Entry)
}

/**
 * The entry's value if it was stored under this key and the tag's present
 * token, else undefined. The key is in it because an answer of Redis does not
 * say what was asked: no tenant is to see another one's on any account.
 */
export function decodeEntry(key: string, stored: string | null, token: string | null): unknown {
  if (stored === null || token === null) return undefined
  try {
    const entry = JSON.parse(stored) as Partial<Entry> | null
    return entry?.key === key && entry.tag === token ? entry.value : undefined
  } catch {
    return undefined
  }
}
