import { type Cluster, type Redis } from 'ioredis'
import { type JobsOptions, Queue, type QueueOptions } from 'bullmq'
import { complain } from './shared'

export const QUEUE = 'jobs'
/** A hash tag: all of the queue's keys share one slot, which its scripts need in a cluster. */
export const PREFIX = '{payaid}'
/** Lies in that slot: whether it can be read says whether the queue's own master answers. */
export const PROBE_KEY = `${PREFIX}:probe`

/**
 * BullMQ would ask for the version, and on a failure then never work again; and
 * it would want no eviction, which a queue that PostgreSQL can refill does not need.
 */
export const common = (connection: Redis | Cluster): QueueOptions => ({ connection, prefix: PREFIX, skipVersionCheck: true })

/**
 * One dispatch at a time is known by the job's number. Redis keeps nothing of
 * one that is over, since it could only hinder the next.
 */
export const dispatchOptions = (id: string): JobsOptions => ({ jobId: dispatchId(id), removeOnComplete: true, removeOnFail: true })

/** BullMQ refuses bare numbers. */
export const dispatchId = (id: string): string => `job-${id}`
export const jobIdOf = (dispatch: string | undefined): string | null => /^job-(\d+)$/.exec(dispatch ?? '')?.[1] ?? null

export function openQueue(connection: Redis | Cluster): Queue {
  const queue = new Queue(QUEUE, common(connection))
  queue.on('error', (error) => complain('queue', error))
  return queue
}
