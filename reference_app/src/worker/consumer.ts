import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Job, Worker } from 'bullmq'
import { env } from '../lib/env'
import { JobFailed } from '../lib/job-kinds'
import { due, finish, forget, giveBack, keep, LEASE_SECONDS, open, type Open, putDown, take, type Taken } from '../lib/job-store'
import { metrics } from '../lib/metrics'
import { primaryPool } from '../lib/pools'
import { common, dispatchId, dispatchOptions, jobIdOf, openQueue, QUEUE } from '../lib/queue'
import { connect, patient } from '../lib/redis'
import { closeAtExit, complain, within } from '../lib/shared'
import { whoami } from '../lib/whoami'
import { settle } from './settle'

const KEEP_MS = (LEASE_SECONDS * 1000) / 3
const SWEEP_MS = 3000
const FORGET_MS = 3_600_000
/** A sweep goes to Redis for its due jobs, and must not hang there while others become due. */
const SWEEP_PATIENCE_MS = 10_000
const GIVE_BACK_MS = 2000
/** Where a dispatch stands that a worker will come to by itself. */
const COMING = new Set(['waiting', 'active', 'delayed', 'prioritized'])

/**
 * One worker process's share of the jobs. What it holds stands in `active`,
 * from before the row is taken until after the row is finished, so that a stop
 * that waits for `active` cuts nothing.
 */
export class Consumer {
  readonly connection = connect(patient)
  private readonly queue = openQueue(this.connection)
  private readonly id = `${whoami().node}:${env().port}:${randomUUID()}`
  /** By the job's number, the dispatch it came with. */
  private readonly active = new Map<string, Job>()
  private readonly worker: Worker
  private readonly timers: NodeJS.Timeout[] = []
  private blocking: { readonly status: string } | null = null
  private stopping = false
  /** Nothing may be taken any more: the process is about to end. */
  private sealed = false
  backlog: Open = { waiting: 0, active: 0, oldest: 0 }

  constructor() {
    this.worker = new Worker(QUEUE, (dispatch) => this.run(dispatch), {
      ...common(this.connection),
      concurrency: env().jobConcurrency,
      // Redis's lock only decides when a dispatch is made again; the lease in PostgreSQL decides who may work.
      lockDuration: LEASE_SECONDS * 1000,
      stalledInterval: 5000,
      // PostgreSQL counts how often a job was begun, and gives up; a dispatch is never given up.
      maxStalledCount: 1_000_000,
      // The default waits 15 s after a connection breaks.
      runRetryDelay: 500,
    })
    this.worker.on('error', (error) => complain('worker', error))
    // Resolves once it is connected, which may be never: health asks for its state until then.
    void this.worker.getBackend().blockingClient?.then(
      (client) => (this.blocking = client),
      (error: unknown) => complain('worker', error),
    )
    this.every(KEEP_MS, 'lease', () => this.keep())
    this.every(SWEEP_MS, 'sweep', () => this.sweep())
    this.every(FORGET_MS, 'forget', () => forget(primaryPool()))
    closeAtExit(async () => this.timers.forEach(clearTimeout))
  }

  get consuming(): boolean {
    return !this.stopping && this.worker.isRunning() && this.blocking?.status === 'ready'
  }

  get underWay(): number {
    return this.active.size
  }

  /** Calls the work again and again, each time some while after the last one ended. */
  private every(ms: number, topic: string, work: () => Promise<void>): void {
    const slot = this.timers.length
    const again = () => {
      // Workers that were started together must not sweep together.
      this.timers[slot] = setTimeout(() => {
        work()
          .catch((error: unknown) => complain(topic, error))
          .finally(again)
      }, ms * (0.8 + Math.random() * 0.4))
    }
    again()
  }

  /**
   * One dispatch. It never fails: what becomes of the job is written to
   * PostgreSQL, and one that nothing could be written of comes back by the sweep.
   */
  private async run(dispatch: Job): Promise<void> {
    const id = jobIdOf(dispatch.id)
    if (id === null || this.sealed) return
    if (this.active.has(id)) {
      // Redis lost sight of it and hands it out again, to the very worker that is doing it.
      metrics().jobs.skipped.add()
      return
    }
    this.active.set(id, dispatch)
    const start = process.hrtime.bigint()
    try {
      const job = await take(primaryPool(), id, this.id)
      if (job === null) {
        metrics().jobs.skipped.add()
        return
      }
      const outcome = await this.work(job)
      metrics().jobs.durations.observe({ kind: job.kind, outcome }, Number(process.hrtime.bigint() - start) / 1e9)
    } catch (error) {
      complain('job', error)
      // The database is away: without a pause the whole queue would be run through for nothing.
      if (!this.stopping) await sleep(1000)
    } finally {
      this.active.delete(id)
    }
  }

  private async work(job: Taken): Promise<'completed' | 'repeated' | 'failed' | 'retried'> {
    const hold = env().testRoutes ? (job.input.duration_ms ?? 0) : 0
    if (hold > 0) await sleep(hold)
    try {
      return (await this.finish(job)) ? 'completed' : 'repeated'
    } catch (error) {
      const final = error instanceof JobFailed
      if (!final) complain('job', error)
      const why = final ? error.message : 'The worker could not finish it.'
      await putDown(primaryPool(), job.id, this.id, why, final)
      return final ? 'failed' : 'retried'
    }
  }

  /** Twice if need be: the first connection of the pool may be one that a failover of the database left dead. */
  private async finish(job: Taken): Promise<boolean> {
    try {
      return await finish(primaryPool(), job, whoami())
    } catch (error) {
      if (error instanceof JobFailed) throw error
      complain('job', error)
      return finish(primaryPool(), job, whoami())
    }
  }

  private async keep(): Promise<void> {
    if (this.active.size > 0) await keep(primaryPool(), [...this.active.keys()], this.id)
  }

  private async sweep(): Promise<void> {
    this.backlog = await open(primaryPool())
    if (this.stopping) return
    const jobs = await due(primaryPool())
    await within(SWEEP_PATIENCE_MS, 'the sweep', Promise.all(jobs.map(({ id, kind }) => this.dispatchAgain(id, kind))))
  }

  /** A dispatch that is in no list of Redis's will not come: parts of it that may be left would keep the next one away. */
  private async dispatchAgain(id: string, kind: string): Promise<void> {
    if (COMING.has(await this.queue.getJobState(dispatchId(id)))) return
    await this.queue.remove(dispatchId(id))
    await this.queue.add(kind, {}, dispatchOptions(id))
    metrics().jobs.redispatched.add()
  }

  /** Takes no more, finishes what is under way; the number of jobs it had to give back after the time allowed. */
  async stop(timeoutMs: number): Promise<number> {
    this.stopping = true
    const cut = await settle(() => this.active.size, this.worker.close(), timeoutMs)
    this.sealed = true
    if (cut > 0) await within(GIVE_BACK_MS, 'giving back', this.giveBack()).catch((error: unknown) => complain('worker', error))
    return cut
  }

  /** Without it the leases would run out, and others begin the jobs all the same, but later. */
  private async giveBack(): Promise<void> {
    await giveBack(primaryPool(), this.id)
    await Promise.allSettled([...this.active.values()].map((dispatch) => dispatch.moveToWait(dispatch.token)))
  }
}
