import assert from 'node:assert/strict'
import test from 'node:test'
import { type Line, Watch } from '../src/lib/redis-watch'

/** A connection that answers with the words of as many questions before as it has lost count of. */
class Fake implements Line {
  status = 'ready'
  lost = 0
  silent = false
  closed = 0
  private readonly asked: string[] = []

  async ping(message: string): Promise<string> {
    this.asked.push(message)
    if (this.silent || this.asked.length <= this.lost) throw new Error('Command timed out')
    return this.asked[this.asked.length - 1 - this.lost]!
  }

  disconnect(): void {
    this.closed += 1
    this.status = 'end'
  }
}

test('a connection that answers what it was asked is left alone', async () => {
  const line = new Fake()
  const watch = new Watch(() => [line])
  for (let n = 0; n < 5; n++) await watch.look()
  assert.equal(line.closed, 0)
})

test('one that gives the answer to another question is closed at once, and the others are not', async () => {
  const [bad, good] = [new Fake(), new Fake()]
  const watch = new Watch(() => [bad, good])
  await watch.look()
  bad.lost = 1
  await watch.look()
  assert.deepEqual([bad.closed, good.closed], [1, 0])
})

test('one late answer is none, two in a row are', async () => {
  const line = new Fake()
  const watch = new Watch(() => [line])
  for (const silent of [true, false, true, false]) {
    line.silent = silent
    await watch.look()
  }
  assert.equal(line.closed, 0)
  line.silent = true
  await watch.look()
  await watch.look()
  assert.equal(line.closed, 1)
})

test('one that is not there yet, or any more, is not asked', async () => {
  const line = new Fake()
  line.silent = true
  line.status = 'connecting'
  const watch = new Watch(() => [line])
  for (let n = 0; n < 5; n++) await watch.look()
  assert.equal(line.closed, 0)
})
