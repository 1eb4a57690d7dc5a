import { readFileSync } from 'node:fs'
import { Cluster, Redis } from 'ioredis'
import { env } from './env'
import { closeAtExit, complain, single } from './shared'

/**
 * Every setting here serves one rule: a cache that does not answer at once is
 * no cache. Nothing is queued while disconnected, nothing is retried inside a
 * request, and reconnecting happens in the background.
 */
function connect(): Redis | Cluster {
  const { mode, nodes, sentinelName, username, password, sentinelPassword, tls, tlsCa, timeoutMs } = env().redis
  const secure = tls ? { ca: tlsCa === undefined ? undefined : readFileSync(tlsCa) } : undefined
  const common = {
    username,
    password,
    tls: secure,
    connectTimeout: 1000,
    commandTimeout: timeoutMs,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    keepAlive: 10_000,
  }
  const backOff = (attempt: number) => Math.min(100 * attempt, 1000)

  const client =
    mode === 'cluster'
      ? new Cluster([...nodes], {
          redisOptions: common,
          // Without it a TLS cluster's announced addresses would be resolved twice.
          dnsLookup: (address, done) => done(null, address),
          enableOfflineQueue: false,
          slotsRefreshTimeout: 1000,
          slotsRefreshInterval: 5000,
          maxRedirections: 4,
          retryDelayOnFailover: 50,
          retryDelayOnClusterDown: 50,
          retryDelayOnTryAgain: 50,
          clusterRetryStrategy: backOff,
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

  client.on('error', (error) => complain('redis', error))
  closeAtExit(async () => client.disconnect())
  return client
}

export const redis = () => single('redis', connect)
