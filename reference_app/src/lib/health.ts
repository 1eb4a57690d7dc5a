import { type Check, type Env, env } from './env'
import { primaryPool, replicaPool } from './pools'
import { redis } from './redis'
import { complain, single, within } from './shared'

export interface Health {
  readonly status: 'healthy' | 'unhealthy'
  readonly checks: Readonly<Record<Check, boolean>>
  readonly timestamp: string
}

/** Ollama counts only where there is one. */
export function verdict(checks: Readonly<Record<Check, boolean>>, required: ReadonlySet<Check>): Health['status'] {
  return [...required].every((name) => checks[name]) ? 'healthy' : 'unhealthy'
}

export async function probe(name: string, ask: () => Promise<boolean>): Promise<boolean> {
  try {
    return await within(env().healthTimeoutMs, name, ask())
  } catch (error) {
    complain(`health ${name}`, error)
    return false
  }
}

/** The pool for writes must lead to a server that takes them. */
export const writable = () =>
  probe('database primary', async () => {
    const { rows } = await primaryPool().query<{ standby: boolean }>('SELECT pg_is_in_recovery() AS standby')
    return rows[0]?.standby === false
  })

async function database(): Promise<boolean> {
  const second = replicaPool()
  const answers = await Promise.all([
    writable(),
    second === null || probe('database replica', async () => (await second.query('SELECT 1')).rowCount === 1),
  ])
  return answers.every(Boolean)
}

/** A key is read rather than PING sent: a cluster without its slots still answers PING. */
const cache = () => probe('redis', async () => (await redis().get('{t:health}:probe'), true))

export async function ollama(url: Env['ollamaUrl']): Promise<boolean> {
  if (url === null) return true
  return probe('ollama', async () => {
    const answer = await fetch(new URL('/api/version', url), { signal: AbortSignal.timeout(env().healthTimeoutMs), cache: 'no-store' })
    await answer.body?.cancel()
    return answer.ok
  })
}

async function check(): Promise<Health> {
  const [databaseUp, redisUp, ollamaUp] = await Promise.all([database(), cache(), ollama(env().ollamaUrl)])
  const checks = { database: databaseUp, redis: redisUp, ollama: ollamaUp }
  return { status: verdict(checks, env().healthRequired), checks, timestamp: new Date().toISOString() }
}

/** Pollers that come while a check is under way share its answer: health must not be a load of its own. */
export function health(): Promise<Health> {
  const running = single<{ now: Promise<Health> | null }>('health', () => ({ now: null }))
  return (running.now ??= check().finally(() => {
    running.now = null
  }))
}
