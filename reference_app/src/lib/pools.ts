import pg from 'pg'
import { env } from './env'
import { closeAtExit, complain, single } from './shared'

function open(name: 'primary' | 'replica', connectionString: string): pg.Pool {
  const pool = new pg.Pool({
    connectionString,
    max: env().poolSize,
    connectionTimeoutMillis: name === 'primary' ? 5000 : 1500,
    // A write may have to outlast a pause at the pooler during a switchover; a
    // read has somewhere else to go. The client measures, since a pooler in
    // transaction mode takes no statement_timeout at start.
    query_timeout: name === 'primary' ? 10_000 : 2000,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    application_name: 'payaid-reference',
  })
  // An idle connection the server closed is no event: the pool opens another.
  pool.on('error', (error) => complain(`database ${name}`, error))
  closeAtExit(() => pool.end())
  return pool
}

export const primaryPool = () => single('primary-pool', () => open('primary', env().databaseUrl))

/** null when reads have no pool of their own. */
export const replicaPool = () =>
  single('replica-pool', () => {
    const url = env().replicaUrl
    return { pool: url === null ? null : open('replica', url) }
  }).pool
