import assert from 'node:assert/strict'
import test from 'node:test'
import { inputOf, newJobOf } from '../src/lib/job-kinds'
import { dispatchId, jobIdOf, PREFIX, PROBE_KEY } from '../src/lib/queue'
import { BadInput } from '../src/lib/validate'
import { settle } from '../src/worker/settle'

test('a job names its kind and its contact', () => {
  assert.deepEqual(newJobOf({ kind: 'welcome', contact_id: 17 }, false), { kind: 'welcome', contactId: 17n, durationMs: 0 })
  assert.deepEqual(newJobOf({ kind: 'welcome', contact_id: 17, duration_ms: 30000 }, true), { kind: 'welcome', contactId: 17n, durationMs: 30000 })
})

for (const [bad, testRoutes] of [
  [null, true], [[], true], ['welcome', true], [{}, true], [{ kind: 'welcome' }, true], [{ contact_id: 1 }, true],
  [{ kind: 'toString', contact_id: 1 }, true], [{ kind: 'Welcome', contact_id: 1 }, true], [{ kind: ['welcome'], contact_id: 1 }, true],
  [{ kind: 'welcome', contact_id: '1' }, true], [{ kind: 'welcome', contact_id: 0 }, true], [{ kind: 'welcome', contact_id: 1.5 }, true],
  [{ kind: 'welcome', contact_id: 2 ** 53 }, true],
  [{ kind: 'welcome', contact_id: 1, duration_ms: 1 }, false], [{ kind: 'welcome', contact_id: 1, duration_ms: 30001 }, true],
  [{ kind: 'welcome', contact_id: 1, duration_ms: -1 }, true], [{ kind: 'welcome', contact_id: 1, duration_ms: '5' }, true],
] as Array<[unknown, boolean]>) {
  test(`no job${testRoutes ? '' : ' without the test routes'}: ${JSON.stringify(bad)}`, () => assert.throws(() => newJobOf(bad, testRoutes), BadInput))
}

test('what is stored keeps every digit, and says nothing of a duration there is not', () => {
  assert.deepEqual(inputOf(newJobOf({ kind: 'welcome', contact_id: 2 ** 53 - 1 }, false)), { contact_id: '9007199254740991' })
  assert.deepEqual(inputOf(newJobOf({ kind: 'welcome', contact_id: 1, duration_ms: 5 }, true)), { contact_id: '1', duration_ms: 5 })
})

test('a dispatch is known by the number of its job', () => {
  assert.equal(jobIdOf(dispatchId('17')), '17')
  for (const other of [undefined, '', '17', 'job-', 'job-x', 'repeat:job-1', 'job-1 ']) assert.equal(jobIdOf(other), null)
})

test('the key that health reads lies in the slot of the queue', () => {
  // Redis Cluster hashes what stands between the first brace and the next.
  assert.equal(/\{([^}]+)\}/.exec(PROBE_KEY)?.[1], /\{([^}]+)\}/.exec(`${PREFIX}:jobs:wait`)?.[1])
})

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const never = new Promise(() => {})

test('a stop waits for what is under way', async () => {
  let underWay = 1
  setTimeout(() => (underWay = 0), 300)
  const start = Date.now()
  assert.equal(await settle(() => underWay, Promise.resolve(), 5000), 0)
  assert.ok(Date.now() - start >= 290)
})

test('a stop waits for a job that was handed over before it and begins after it', async () => {
  let underWay = 0
  setTimeout(() => (underWay = 1), 100)
  setTimeout(() => (underWay = 0), 500)
  const start = Date.now()
  assert.equal(await settle(() => underWay, never, 5000, 200), 0)
  // Less one look: the last one that saw the job may have been just before its end.
  assert.ok(Date.now() - start >= 650)
})

test('a close that does not come, or fails, holds no stop', async () => {
  assert.equal(await settle(() => 0, never, 5000, 100), 0)
  assert.equal(await settle(() => 0, Promise.reject(new Error('gone')), 5000), 0)
})

test('the time limit holds, and says how many are cut', async () => {
  const start = Date.now()
  assert.equal(await settle(() => 3, pause(10), 200), 3)
  assert.ok(Date.now() - start < 1000)
})
