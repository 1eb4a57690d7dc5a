import { monitorEventLoopDelay } from 'node:perf_hooks'
import os from 'node:os'
import { single } from './shared'

const REQUEST_BUCKETS = [0.05, 0.1, 0.2, 0.5, 1] as const
const QUERY_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1] as const
const JOB_BUCKETS = [0.05, 0.1, 0.5, 1, 5, 30] as const
const LOOP_RESOLUTION_MS = 20

type Labels = Readonly<Record<string, string>>

class Histogram {
  private readonly series = new Map<string, { counts: number[]; sum: number; count: number }>()
  constructor(private readonly name: string, private readonly help: string, private readonly buckets: readonly number[]) {}

  observe(labels: Labels, seconds: number): void {
    const key = text(labels)
    let series = this.series.get(key)
    if (!series) this.series.set(key, (series = { counts: this.buckets.map(() => 0), sum: 0, count: 0 }))
    series.sum += seconds
    series.count += 1
    this.buckets.forEach((limit, i) => {
      if (seconds <= limit) series.counts[i]! += 1
    })
  }

  lines(): string[] {
    const out = [`# HELP ${this.name} ${this.help}`, `# TYPE ${this.name} histogram`]
    for (const [labels, series] of this.series) {
      const comma = labels === '' ? '' : ','
      this.buckets.forEach((limit, i) => out.push(`${this.name}_bucket{${labels}${comma}le="${limit}"} ${series.counts[i]}`))
      out.push(`${this.name}_bucket{${labels}${comma}le="+Inf"} ${series.count}`)
      out.push(`${this.name}_sum{${labels}} ${series.sum}`, `${this.name}_count{${labels}} ${series.count}`)
    }
    return out
  }
}

class Counter {
  private value = 0
  constructor(private readonly name: string, private readonly help: string) {}
  add(): void {
    this.value += 1
  }
  lines(): string[] {
    return [`# HELP ${this.name} ${this.help}`, `# TYPE ${this.name} counter`, `${this.name} ${this.value}`]
  }
}

function text(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`)
    .join(',')
}

function create() {
  const loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS })
  loop.enable()
  return {
    requests: new Histogram('http_request_duration_seconds', 'Time from request to the end of the response.', REQUEST_BUCKETS),
    queries: new Histogram('app_database_query_duration_seconds', 'Time of one database operation, by pool.', QUERY_BUCKETS),
    hits: new Counter('app_cache_hits_total', 'Reads answered from the cache.'),
    misses: new Counter('app_cache_misses_total', 'Reads the cache had no valid entry for.'),
    errors: new Counter('app_cache_errors_total', 'Cache operations that failed or were skipped while Redis was away.'),
    fallbacks: new Counter('app_replica_fallbacks_total', 'Reads that left the read pool for the primary.'),
    jobs: {
      accepted: new Counter('app_jobs_accepted_total', 'Jobs committed to the database by this process.'),
      undispatched: new Counter('app_jobs_undispatched_total', 'Jobs that Redis could not be told of when they were accepted.'),
      durations: new Histogram('app_job_duration_seconds', 'Time a worker had a job, by its kind and outcome.', JOB_BUCKETS),
      skipped: new Counter('app_jobs_skipped_total', 'Dispatches of a job that was done already or that another worker held.'),
      redispatched: new Counter('app_jobs_redispatched_total', 'Jobs that were due and that Redis knew nothing of.'),
    },
    loop,
  }
}

export const metrics = () => single('metrics', create)

export function gauge(name: string, help: string, value: number, type = 'gauge', labels = ''): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, `${name}${labels} ${value}`]
}

/** `more` are lines of a program's own. */
export function exposition(release: string, port: string, more: readonly string[] = []): string {
  const m = metrics()
  const memory = process.memoryUsage()
  const cpu = process.cpuUsage()
  // The histogram measures its own timer, so an idle loop shows its resolution.
  const lag = m.loop.count === 0 ? 0 : Math.max(0, m.loop.percentile(99) / 1e9 - LOOP_RESOLUTION_MS / 1000)
  m.loop.reset()
  const lines = [
    ...m.requests.lines(),
    ...m.queries.lines(),
    ...m.hits.lines(),
    ...m.misses.lines(),
    ...m.errors.lines(),
    ...m.fallbacks.lines(),
    ...Object.values(m.jobs).flatMap((metric) => metric.lines()),
    ...more,
    ...gauge('process_resident_memory_bytes', 'Resident memory.', memory.rss),
    ...gauge('nodejs_heap_size_used_bytes', 'Used heap.', memory.heapUsed),
    ...gauge('nodejs_heap_size_total_bytes', 'Reserved heap.', memory.heapTotal),
    ...gauge('nodejs_external_memory_bytes', 'Memory outside the heap.', memory.external),
    ...gauge('nodejs_eventloop_lag_p99_seconds', 'Event loop delay since the last scrape, 99th percentile.', lag),
    ...gauge('process_cpu_seconds_total', 'CPU time used.', (cpu.user + cpu.system) / 1e6, 'counter'),
    ...gauge('process_start_time_seconds', 'Start of the process, Unix time.', Math.round(Date.now() / 1000 - process.uptime())),
    ...gauge('nodejs_version_info', 'Version of Node.js.', 1, 'gauge', `{${text({ version: process.version, major: process.versions.node.split('.')[0]! })}}`),
    ...gauge('app_info', 'What runs here.', 1, 'gauge', `{${text({ node: os.hostname(), process: port, release })}}`),
  ]
  return `${lines.join('\n')}\n`
}

const ROUTES = new Set([
  '/', '/login', '/dashboard', '/metrics', '/api/health', '/api/live', '/api/contacts', '/api/dashboard/stats',
  '/api/login', '/api/logout', '/api/me', '/api/whoami', '/api/slow', '/api/stream', '/api/jobs',
])
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Labels must come from a fixed set: a scanner must not be able to create series. */
export function routeLabel(url: string): string {
  const path = url.split('?', 1)[0]!
  if (ROUTES.has(path)) return path
  if (/^\/api\/contacts\/[^/]+$/.test(path)) return '/api/contacts/:id'
  if (/^\/api\/contacts\/[^/]+\/messages$/.test(path)) return '/api/contacts/:id/messages'
  if (/^\/api\/jobs\/[^/]+$/.test(path)) return '/api/jobs/:id'
  if (path.startsWith('/_next/static/')) return '/_next/static'
  return 'other'
}

export function methodLabel(method: string | undefined): string {
  return method !== undefined && METHODS.has(method) ? method : 'other'
}
