import assert from 'node:assert/strict'
import test from 'node:test'
import { CacheTag, decodeEntry, encodeEntry, entryKey, tagKey, writtenKey } from '../src/lib/cache-keys'
import { formatLsn, laterOf, parseLsn, UNREACHABLE } from '../src/lib/lsn'

test('all keys of a tenant carry one hash tag, and tenants do not share it', () => {
  // Redis Cluster hashes what stands between the first brace and the next.
  const hashed = (tenant: string) =>
    new Set([entryKey(tenant, 'contacts'), entryKey(tenant, 'stats'), tagKey(tenant, CacheTag.CONTACT), writtenKey(tenant)].map((key) => /\{([^}]+)\}/.exec(key)?.[1]))
  assert.deepEqual([...hashed('demo')], ['t:demo'])
  assert.deepEqual([...hashed('other')], ['t:other'])
})

test('an entry counts only under the key and the token it was stored with', () => {
  const stored = encodeEntry('mine', 'one', { rows: [1] })
  assert.deepEqual(decodeEntry('mine', stored, 'one'), { rows: [1] })
  assert.equal(decodeEntry('yours', stored, 'one'), undefined)
  assert.equal(decodeEntry('mine', stored, 'two'), undefined)
  assert.equal(decodeEntry('mine', stored, null), undefined)
  assert.equal(decodeEntry('mine', null, 'one'), undefined)
  assert.equal(decodeEntry('mine', '{broken', 'one'), undefined)
  assert.equal(decodeEntry('mine', 'null', 'one'), undefined)
  assert.deepEqual(decodeEntry('mine', encodeEntry('mine', 'one', []), 'one'), [])
})

test('log positions survive the way to a number and back', () => {
  for (const text of ['0/0', '0/16B3748', '1/0', 'A/FFFFFFFF', '1FFFFF/FFFFFFFF']) assert.equal(formatLsn(parseLsn(text)!), text)
  assert.ok(parseLsn('1/0')! > parseLsn('0/FFFFFFFF')!)
  for (const text of [null, undefined, '', '0', '0/', 'x/1', '0/1/2', '123456789/0', 'FFFFFFFF/FFFFFFFF']) assert.equal(parseLsn(text), null)
  assert.equal(parseLsn(formatLsn(UNREACHABLE)), UNREACHABLE)
})

test('the later of two positions, either of which may be unknown', () => {
  assert.equal(laterOf(null, null), null)
  assert.equal(laterOf(1, null), 1)
  assert.equal(laterOf(null, 2), 2)
  assert.equal(laterOf(3, 2), 3)
})
