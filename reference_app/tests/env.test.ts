import assert from 'node:assert/strict'
import test from 'node:test'
import { EnvError, parseEnv } from '../src/lib/env'

const good = {
  DATABASE_URL: 'postgresql://app:hidden@127.0.0.1:6432/app_rw',
  REDIS_NODES: '10.0.0.1:6379',
  JWT_SECRET: 'a secret of sufficient length',
}

test('the least that is needed, with its defaults', () => {
  const env = parseEnv(good)
  assert.equal(env.port, '3000')
  assert.equal(env.replicaUrl, null)
  assert.equal(env.redis.mode, 'standalone')
  assert.equal(env.redis.sentinelName, 'mymaster')
  assert.equal(env.redis.tls, false)
  assert.equal(env.ollamaUrl, null)
  assert.equal(env.testRoutes, false)
  assert.deepEqual([env.jobConcurrency, env.drainTimeoutMs], [10, 25_000])
  assert.deepEqual([...env.healthRequired], ['database', 'redis'])
})

test('a cluster of several nodes, IPv6 among them', () => {
  const { redis } = parseEnv({ ...good, REDIS_MODE: 'cluster', REDIS_NODES: 'one:6379, [fd00::2]:6380,' })
  assert.deepEqual(redis.nodes, [{ host: 'one', port: 6379 }, { host: 'fd00::2', port: 6380 }])
})

test('a read pool equal to the write pool is no read pool', () => {
  assert.equal(parseEnv({ ...good, DATABASE_READ_REPLICA_URL: good.DATABASE_URL }).replicaUrl, null)
  assert.equal(parseEnv({ ...good, DATABASE_READ_REPLICA_URL: '' }).replicaUrl, null)
})

const wrong: Array<[string, Record<string, string | undefined>]> = [
  ['DATABASE_URL', { DATABASE_URL: undefined }],
  ['DATABASE_URL', { DATABASE_URL: 'mysql://app:hidden@db/app' }],
  ['DATABASE_READ_REPLICA_URL', { DATABASE_READ_REPLICA_URL: 'hidden' }],
  ['REDIS_NODES', { REDIS_NODES: ' ' }],
  ['REDIS_NODES', { REDIS_NODES: 'host' }],
  ['REDIS_NODES', { REDIS_NODES: 'host:0' }],
  ['REDIS_NODES', { REDIS_NODES: 'host:70000' }],
  ['REDIS_NODES', { REDIS_NODES: 'a:1,b:2' }],
  ['REDIS_MODE', { REDIS_MODE: 'ring' }],
  ['REDIS_TLS', { REDIS_TLS: 'maybe' }],
  ['JWT_SECRET', { JWT_SECRET: undefined }],
  ['JWT_SECRET', { JWT_SECRET: 'hidden' }],
  ['OLLAMA_URL', { OLLAMA_URL: 'host:11434' }],
  ['PORT', { PORT: '70000' }],
  ['PORT', { PORT: '3000x' }],
  ['JOB_CONCURRENCY', { JOB_CONCURRENCY: '0' }],
  ['DRAIN_TIMEOUT_MS', { DRAIN_TIMEOUT_MS: '25s' }],
  ['HEALTH_REQUIRED', { HEALTH_REQUIRED: 'database,cache' }],
  ['METRICS_ALLOW', { METRICS_ALLOW: '10.0.0.0/33' }],
  ['METRICS_ALLOW', { METRICS_ALLOW: 'monitor' }],
]
for (const [name, change] of wrong) {
  test(`${JSON.stringify(change)} is refused in one sentence that names ${name}`, () => {
    assert.throws(() => parseEnv({ ...good, ...change }), (error: unknown) => {
      assert.ok(error instanceof EnvError)
      assert.match(error.message, new RegExp(`^${name} [^\\n]*\\.$`))
      assert.doesNotMatch(error.message, /hidden/)
      return true
    })
  })
}
