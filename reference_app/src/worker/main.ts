import http from 'node:http'
import { env, EnvError } from '../lib/env'
import { ollama, probe, verdict, writable } from '../lib/health'
import { exposition, gauge, metrics } from '../lib/metrics'
import { mayScrape, peer, watchRequests } from '../lib/peer'
import { PROBE_KEY } from '../lib/queue'
import { single, within } from '../lib/shared'
import { whoami } from '../lib/whoami'
import { Consumer } from './consumer'

/**
 * The program `worker.js`: does the jobs that the servers accept, and answers
 * on PORT what a deployment asks of every process.
 */

/** EX_CONFIG of sysexits.h, as the server has it. */
const EX_CONFIG = 78
const CLOSERS_MS = 2000

interface Answer {
  readonly status: number
  readonly body: string
  readonly type?: string
}

const json = (body: unknown, status = 200): Answer => ({ status, body: JSON.stringify(body) })

/** The server's shape, and one check more. Whether the worker consumes is not for HEALTH_REQUIRED to waive unless Redis is. */
async function health(consumer: Consumer): Promise<Answer> {
  const [database, redis, ollamaUp] = await Promise.all([
    writable(),
    // Not asked unless connected: a patient connection would keep the question.
    probe('redis', async () => consumer.connection.status === 'ready' && (await consumer.connection.get(PROBE_KEY), true)),
    ollama(env().ollamaUrl),
  ])
  const checks = { database, redis, ollama: ollamaUp }
  const { consuming } = consumer
  const required = env().healthRequired
  const healthy = verdict(checks, required) === 'healthy' && (consuming || !required.has('redis'))
  const body = { status: healthy ? 'healthy' : 'unhealthy', checks: { ...checks, consuming }, timestamp: new Date().toISOString() }
  return json(body, healthy ? 200 : 503)
}

function draining(): Answer {
  const checks = { database: false, redis: false, ollama: false, consuming: false }
  return json({ status: 'unhealthy', checks, draining: true, timestamp: new Date().toISOString() }, 503)
}

function metricsPage(consumer: Consumer): Answer {
  if (!mayScrape(peer(), env().metricsAllow)) return { status: 403, body: 'Forbidden\n', type: 'text/plain' }
  const { waiting, oldest } = consumer.backlog
  const lines = [
    ...gauge('app_jobs_under_way', 'Jobs this worker is doing.', consumer.underWay),
    ...gauge('app_jobs_waiting', 'Jobs of all workers that nobody has begun, at the last sweep.', waiting),
    ...gauge('app_jobs_oldest_waiting_seconds', 'Age of the job that has waited longest, at the last sweep.', oldest),
  ]
  return { status: 200, body: exposition(env().release, env().port, lines), type: 'text/plain; version=0.0.4; charset=utf-8' }
}

function respond(consumer: Consumer, stopping: () => boolean): http.RequestListener {
  const answer = async (path: string): Promise<Answer> => {
    if (path === '/api/health') return stopping() ? draining() : health(consumer)
    if (path === '/api/live') return json({ status: 'alive' })
    if (path === '/api/whoami') return json({ ...whoami(), role: 'worker' })
    if (path === '/metrics') return metricsPage(consumer)
    return json({ error: 'Not found.' }, 404)
  }
  return (request, response) => {
    // No body is wanted, but one that came must not stay in the connection.
    request.resume()
    const path = (request.url ?? '').split('?', 1)[0]!
    const known = request.method === 'GET' || request.method === 'HEAD'
    void (known ? answer(path) : Promise.resolve(json({ error: 'Not found.' }, 404)))
      .catch((error: unknown) => {
        console.error('unexpected:', error)
        return json({ error: 'Something went wrong here.' }, 500)
      })
      .then(({ status, body, type = 'application/json' }) => {
        if (stopping()) response.shouldKeepAlive = false
        response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store', 'Content-Length': Buffer.byteLength(body) })
        response.end(request.method === 'HEAD' ? undefined : body)
      })
  }
}

function configuration(): void {
  try {
    env()
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
    console.error(error.message)
    process.exit(EX_CONFIG)
  }
  // It ends the process when the last request is answered, whatever the jobs do.
  if (process.listenerCount('SIGTERM') > 0) {
    console.error('worker.js handles SIGTERM itself: it must be started without drain.cjs.')
    process.exit(EX_CONFIG)
  }
}

function main(): void {
  configuration()
  watchRequests()
  metrics()
  const consumer = new Consumer()
  let stopping = false
  const server = http.createServer(respond(consumer, () => stopping))
  server.on('error', (error) => {
    console.error(`worker: cannot listen: ${error.message}`)
    process.exit(1)
  })
  server.listen(Number(env().port), process.env.HOSTNAME?.trim() || '0.0.0.0', () => {
    console.log(`worker: ${env().jobConcurrency} jobs at once, port ${env().port}, release ${env().release}`)
  })

  const stop = (signal: string) => {
    if (stopping) return
    stopping = true
    console.log(`${signal}: finishing ${consumer.underWay} jobs`)
    void consumer.stop(env().drainTimeoutMs).then(async (cut) => {
      if (cut > 0) console.error(`worker: not finished after ${env().drainTimeoutMs} ms, ${cut} jobs are given back`)
      server.close()
      server.closeIdleConnections()
      const closers = single<Array<() => Promise<unknown>>>('closers', () => [])
      await within(CLOSERS_MS, 'closing', Promise.allSettled(closers.map((close) => close()))).catch(() => undefined)
      process.exit(cut > 0 ? 1 : 0)
    })
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}

main()
