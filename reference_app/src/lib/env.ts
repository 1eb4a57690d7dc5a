import { isIP } from 'node:net'
import { single } from './shared'

export class EnvError extends Error {}

export type RedisMode = 'standalone' | 'sentinel' | 'cluster'
export type Check = 'database' | 'redis' | 'ollama'

export interface Env {
  readonly port: string
  readonly release: string
  readonly databaseUrl: string
  /** null when there is no separate read pool. */
  readonly replicaUrl: string | null
  readonly poolSize: number
  readonly redis: {
    readonly mode: RedisMode
    readonly nodes: ReadonlyArray<{ host: string; port: number }>
    readonly sentinelName: string
    readonly username: string | undefined
    readonly password: string | undefined
    readonly sentinelPassword: string | undefined
    readonly tls: boolean
    readonly tlsCa: string | undefined
    readonly timeoutMs: number
  }
  readonly cacheTtlSeconds: number
  readonly jwtSecret: string
  readonly ollamaUrl: string | null
  readonly testRoutes: boolean
  readonly healthRequired: ReadonlySet<Check>
  readonly healthTimeoutMs: number
  /** How many jobs a worker does at once. */
  readonly jobConcurrency: number
  /** How long a worker finishes what is under way after SIGTERM. */
  readonly drainTimeoutMs: number
  readonly metricsAllow: ReadonlyArray<{ address: string; prefix: number; family: 'ipv4' | 'ipv6' }>
}

type Raw = Readonly<Record<string, string | undefined>>

/** Reads the whole environment, or throws one sentence that names the variable. Values are never repeated: some are secrets. */
export function parseEnv(raw: Raw): Env {
  const get = (name: string): string | undefined => {
    const value = raw[name]?.trim()
    return value === '' ? undefined : value
  }
  const need = (name: string, purpose: string): string => {
    const value = get(name)
    if (value === undefined) throw new EnvError(`${name} is not set: it must hold ${purpose}.`)
    return value
  }
  const url = (name: string, value: string, schemes: readonly string[]): string => {
    const scheme = URL.canParse(value) ? new URL(value).protocol.slice(0, -1) : ''
    if (!schemes.includes(scheme)) {
      throw new EnvError(`${name} is not valid: it must be a URL that starts with ${schemes.map((s) => `${s}://`).join(' or ')}.`)
    }
    return value
  }
  const integer = (name: string, fallback: number, min: number, max: number): number => {
    const value = get(name)
    if (value === undefined) return fallback
    const number = /^\d+$/.test(value) ? Number(value) : NaN
    if (!(number >= min && number <= max)) {
      throw new EnvError(`${name} is not valid: it must be a whole number from ${min} to ${max}.`)
    }
    return number
  }
  const flag = (name: string): boolean => {
    const value = (get(name) ?? '0').toLowerCase()
    if (['1', 'true', 'yes', 'on'].includes(value)) return true
    if (['0', 'false', 'no', 'off'].includes(value)) return false
    throw new EnvError(`${name} is not valid: it must be 1 or 0.`)
  }
  const list = (name: string): string[] | undefined =>
    get(name)?.split(',').map((item) => item.trim()).filter((item) => item !== '')

  const port = String(integer('PORT', 3000, 1, 65535))

  const databaseUrl = url('DATABASE_URL', need('DATABASE_URL', 'the PostgreSQL URL of the read-write pool'), ['postgresql', 'postgres'])
  const replica = get('DATABASE_READ_REPLICA_URL')
  if (replica !== undefined) url('DATABASE_READ_REPLICA_URL', replica, ['postgresql', 'postgres'])

  const mode = get('REDIS_MODE') ?? 'standalone'
  if (mode !== 'standalone' && mode !== 'sentinel' && mode !== 'cluster') {
    throw new EnvError('REDIS_MODE is not valid: it must be standalone, sentinel or cluster.')
  }
  need('REDIS_NODES', 'host:port addresses separated by commas')
  const nodes = (list('REDIS_NODES') ?? []).map(parseNode)
  if (nodes.length === 0) throw new EnvError('REDIS_NODES is not valid: it names no host:port address.')
  if (mode === 'standalone' && nodes.length > 1) {
    throw new EnvError('REDIS_NODES is not valid: REDIS_MODE=standalone takes exactly one host:port address.')
  }

  const jwtSecret = need('JWT_SECRET', 'the secret that signs session cookies, the same on every node')
  if (jwtSecret.length < 16) throw new EnvError('JWT_SECRET is not valid: it must have at least 16 characters.')

  const ollama = get('OLLAMA_URL')
  if (ollama !== undefined) url('OLLAMA_URL', ollama, ['http', 'https'])

  const required = list('HEALTH_REQUIRED') ?? ['database', 'redis']
  for (const name of required) {
    if (!isCheck(name)) throw new EnvError('HEALTH_REQUIRED is not valid: it may list database, redis and ollama.')
  }

  return {
    port,
    release: get('RELEASE') ?? 'development',
    databaseUrl,
    replicaUrl: replica === undefined || replica === databaseUrl ? null : replica,
    poolSize: integer('DATABASE_POOL_SIZE', 10, 1, 500),
    redis: {
      mode,
      nodes,
      sentinelName: get('REDIS_SENTINEL_NAME') ?? 'mymaster',
      username: get('REDIS_USERNAME'),
      password: get('REDIS_PASSWORD'),
      sentinelPassword: get('REDIS_SENTINEL_PASSWORD'),
      tls: flag('REDIS_TLS'),
      tlsCa: get('REDIS_TLS_CA'),
      timeoutMs: integer('REDIS_TIMEOUT_MS', 250, 10, 10_000),
    },
    cacheTtlSeconds: integer('CACHE_TTL_SECONDS', 30, 1, 86_400),
    jwtSecret,
    ollamaUrl: ollama ?? null,
    testRoutes: flag('REFERENCE_TEST_ROUTES'),
    healthRequired: new Set(required.filter(isCheck)),
    jobConcurrency: integer('JOB_CONCURRENCY', 10, 1, 200),
    drainTimeoutMs: integer('DRAIN_TIMEOUT_MS', 25_000, 1, 9_999_999),
    healthTimeoutMs: integer('HEALTH_TIMEOUT_MS', 2000, 50, 30_000),
    metricsAllow: (list('METRICS_ALLOW') ?? []).map(parseRange),
  }
}

function isCheck(name: string): name is Check {
  return name === 'database' || name === 'redis' || name === 'ollama'
}

function parseNode(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  const host = match?.[1] ?? match?.[2]
  if (host === undefined || !(port >= 1 && port <= 65535)) {
    throw new EnvError('REDIS_NODES is not valid: each address must look like host:port, or [address]:port for IPv6.')
  }
  return { host, port }
}

function parseRange(text: string): Env['metricsAllow'][number] {
  const [address = '', bits, more] = text.split('/')
  const version = isIP(address)
  const most = version === 4 ? 32 : 128
  const prefix = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : NaN
  if (version === 0 || more !== undefined || !(prefix <= most)) {
    throw new EnvError('METRICS_ALLOW is not valid: it takes IP addresses or ranges such as 10.0.0.5,10.1.0.0/24.')
  }
  return { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' }
}

/** The running process's environment, read once. */
export function env(): Env {
  return single('env', () => parseEnv(process.env))
}
