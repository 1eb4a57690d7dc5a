import { randomUUID } from 'node:crypto'
import { type CacheTag, decodeEntry, encodeEntry, entryKey, tagKey, writtenKey } from './cache-keys'
import { env } from './env'
import { laterOf } from './lsn'
import { metrics } from './metrics'
import { redis } from './redis'
import { complain, single, within } from './shared'

/** Longer than any entry lives, so that a tag never disappears before what hangs on it. */
const TAG_SECONDS = 2 * 86_400
/** A replica further behind than this is another alarm's business. */
const WRITTEN_SECONDS = 120
/** How long a tenant's reads leave Redis alone after it failed them. */
const PAUSE_MS = 1000

export type Source = 'cache' | 'replica' | 'primary'
export interface Loaded<T> {
  readonly value: T
  readonly source: Source
}

interface Looked {
  readonly token: string
  /** Position of the tenant's latest known write, or null when there was none lately. */
  readonly written: number | null
  readonly value: unknown
}

const paused = () => single('cache-paused', () => new Map<string, number>())
const flights = () => single('cache-flights', () => new Map<string, Promise<Loaded<unknown>>>())

/** Runs one exchange with Redis; null when it failed, which never is the caller's failure. */
async function attempt<T>(tenant: string, exchange: () => Promise<T>): Promise<T | null> {
  const until = paused().get(tenant)
  if (until !== undefined && until > Date.now()) {
    metrics().errors.add()
    return null
  }
  try {
    const answer = await within(env().redis.timeoutMs, 'Redis', exchange())
    if (until !== undefined) paused().delete(tenant)
    return answer
  } catch (error) {
    complain('cache', error)
    metrics().errors.add()
    // A tenant's keys are one slot, hence one node: others may fare better.
    if (paused().size > 10_000) paused().clear()
    paused().set(tenant, Date.now() + PAUSE_MS)
    return null
  }
}

/** ioredis answers transactions and pipelines with [error, reply] pairs. */
function replies(results: [Error | null, unknown][] | null): unknown[] {
  if (results === null) throw new Error('the transaction was dropped')
  return results.map(([error, reply]) => {
    if (error) throw error
    return reply
  })
}

async function look(tenant: string, tag: CacheTag, name: string, seen: number | null): Promise<Looked> {
  const tagName = tagKey(tenant, tag)
  if (seen === null) {
    // Who has written nothing takes what is there. To Redis the question for the latest write would be a miss whenever there was none
    // lately, and so a third of what a busy cache is asked.
    const [token = null, entry = null] = await redis().mget(tagName, entryKey(tenant, name))
    const value = token === null ? undefined : decodeEntry(entryKey(tenant, name), entry, token)
    if (token !== null && value !== undefined) return { token, written: null, value }
  }
  const [pair, score] = replies(
    await redis().pipeline().mget(tagName, entryKey(tenant, name)).zscore(writtenKey(tenant), tag).exec(),
  ) as [[string | null, string | null], string | null]
  const written = score === null ? null : Number(score)
  if (pair[0] !== null) return { token: pair[0], written, value: decodeEntry(entryKey(tenant, name), pair[1], pair[0]) }
  // The first reader of a tenant, or the one after an eviction, makes the tag.
  const made = replies(await redis().multi().set(tagName, randomUUID(), 'EX', TAG_SECONDS, 'NX').get(tagName).exec())
  return { token: String(made[1]), written, value: undefined }
}

/**
 * Cache-aside under a tag. The entry is stored with the token its tag had
 * before the database was asked, so a write that comes in between makes the
 * entry worthless instead of letting it hide the write.
 *
 * `seen` is the caller's own latest write. If Redis never heard of it, the
 * invalidation was lost and the entry is not to be trusted by this caller.
 */
export async function cached<T>(
  tenant: string,
  tag: CacheTag,
  name: string,
  seen: number | null,
  load: (atLeast: number | null) => Promise<Loaded<T>>,
): Promise<Loaded<T>> {
  const key = entryKey(tenant, name)
  const looked = await attempt(tenant, () => look(tenant, tag, name, seen))
  if (looked === null) return load(seen)

  const trusted = seen === null || (looked.written !== null && looked.written >= seen)
  if (trusted && looked.value !== undefined) {
    metrics().hits.add()
    return { value: looked.value as T, source: 'cache' }
  }
  metrics().misses.add()

  const atLeast = laterOf(seen, looked.written)
  // Requests that miss together share one load; the token and position in the
  // key keep anyone from joining a load that began before their own write.
  const flight = `${tenant} ${name} ${looked.token} ${atLeast}`
  const joined = flights().get(flight) as Promise<Loaded<T>> | undefined
  if (joined) return joined

  const loading = load(atLeast).then(async (loaded) => {
    await attempt(tenant, () =>
      redis().set(key, encodeEntry(key, looked.token, loaded.value), 'EX', env().cacheTtlSeconds),
    )
    return loaded
  })
  flights().set(flight, loading)
  try {
    return await loading
  } finally {
    flights().delete(flight)
  }
}

/** The position of the tenant's latest known write, for reads that are not cached. */
export async function lastWrite(tenant: string, tag: CacheTag): Promise<number | null> {
  const score = await attempt(tenant, () => redis().zscore(writtenKey(tenant), tag))
  return score === null ? null : Number(score)
}

/** Makes every entry under the tag worthless, and tells all nodes how far a replica must be. */
export async function invalidateByTag(tag: CacheTag, tenant: string, written: number): Promise<void> {
  const move = async () =>
    void replies(
      await redis()
        .multi()
        .set(tagKey(tenant, tag), randomUUID(), 'EX', TAG_SECONDS)
        // GT: of two writers that come out of order, the later position stays.
        .zadd(writtenKey(tenant), 'GT', written, tag)
        .expire(writtenKey(tenant), WRITTEN_SECONDS)
        .exec(),
    )
  try {
    await within(env().redis.timeoutMs, 'Redis', move())
  } catch (error) {
    complain('cache invalidation', error)
    metrics().errors.add()
    retryInvalidation(`${tenant} ${tag}`, move)
  }
}

/**
 * A write that Redis did not hear of would leave old entries readable when it
 * comes back. They live no longer than the TTL, so trying that long is enough.
 */
function retryInvalidation(what: string, move: () => Promise<void>): void {
  const waiting = single('cache-retries', () => new Map<string, () => Promise<void>>())
  if (waiting.size >= 10_000 && !waiting.has(what)) return
  const known = waiting.has(what)
  waiting.set(what, move)
  if (known) return
  const end = Date.now() + env().cacheTtlSeconds * 1000
  const again = () => {
    const latest = waiting.get(what)!
    within(env().redis.timeoutMs, 'Redis', latest()).then(
      () => waiting.delete(what),
      () => (Date.now() < end ? setTimeout(again, 500).unref() : waiting.delete(what)),
    )
  }
  setTimeout(again, 500).unref()
}
