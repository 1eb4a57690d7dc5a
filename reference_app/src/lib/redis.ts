import { readFileSync } from 'node:fs'
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis'
import { env } from './env'
import { watch } from './redis-watch'
import { closeAtExit, complain, single } from './shared'

/** What the three ways of connecting are told beside where the servers are. */
interface Manner {
  readonly topic: string
  readonly redis: RedisOptions
  readonly cluster: ClusterOptions
}

/**
 * Every setting here serves one rule: a cache that does not answer at once is
 * no cache. Nothing is queued while disconnected, nothing is retried inside a
 * request, and reconnecting happens in the background.
 */
export const hasty = (timeoutMs: number): Manner => ({
  topic: 'redis',
  redis: {
    commandTimeout: timeoutMs,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
  },
  cluster: { enableOfflineQueue: false, maxRedirections: 4 },
})

/**
 * A worker has nobody waiting for it: what it has to say to Redis it says as
 * often as it takes. Only so does BullMQ's blocking command outlast a failover.
 */
export const patient: Manner = {
  topic: 'queue',
  redis: { maxRetriesPerRequest: null, enableOfflineQueue: true },
  // At one try in 50 ms a failover of ten seconds is still no error.
  cluster: { enableOfflineQueue: true, maxRedirections: 200 },
}

export function connect(manner: Manner): Redis | Cluster {
  const { mode, nodes, sentinelName, username, password, sentinelPassword, tls, tlsCa } = env().redis
  const secure = tls ? { ca: tlsCa === undefined ? undefined : readFileSync(tlsCa) } : undefined
  const common: RedisOptions = { username, password, tls: secure, connectTimeout: 1000, keepAlive: 10_000, ...manner.redis }
  const backOff = (attempt: number) => Math.min(100 * attempt, 1000)

  const client =
    mode === 'cluster'
      ? new Cluster([...nodes], {
          redisOptions: common,
          // Without it a TLS cluster's announced addresses would be resolved twice.
          dnsLookup: (address, done) => done(null, address),
          slotsRefreshTimeout: 1000,
          slotsRefreshInterval: 5000,
          retryDelayOnFailover: 50,
          retryDelayOnClusterDown: 50,
          retryDelayOnTryAgain: 50,
          clusterRetryStrategy: backOff,
          ...manner.cluster,
        })
      : mode === 'sentinel'
        ? new Redis({
            ...common,
            sentinels: [...nodes],
            name: sentinelName,
            sentinelPassword,
            sentinelTLS: secure,
            enableTLSForSentinelMode: tls,
            retryStrategy: backOff,
            sentinelRetryStrategy: backOff,
            sentinelCommandTimeout: 1000,
          })
        : new Redis({ ...common, ...nodes[0]!, retryStrategy: backOff })

  client.on('error', (error) => complain(manner.topic, error))
  closeAtExit(async () => client.disconnect())
  return client
}

export const redis = () =>
  single('redis', () => {
    const client = connect(hasty(env().redis.timeoutMs))
    watch(client)
    return client
  })
