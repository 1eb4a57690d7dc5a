import assert from 'node:assert/strict'
import test from 'node:test'
import { BadInput, idOf, credentialsOf, durationOf, idempotencyKeyOf, newContactOf, tenantOf } from '../src/lib/validate'

test('tenants', () => {
  assert.equal(tenantOf(null), 'demo')
  for (const good of ['a', 'acme-2', 'A_b', 'x'.repeat(63)]) assert.equal(tenantOf(good), good)
  for (const bad of ['', ' ', '-a', 'a b', 'a}b', '{a', 'ä', 'a:b', 'x'.repeat(64)]) assert.throws(() => tenantOf(bad), BadInput)
})

test('idempotency keys', () => {
  assert.equal(idempotencyKeyOf(null), null)
  assert.equal(idempotencyKeyOf('8e03978e-40d5'), '8e03978e-40d5')
  for (const bad of ['', 'a b', 'ü', 'x'.repeat(201)]) assert.throws(() => idempotencyKeyOf(bad), BadInput)
})

test('contacts are trimmed and kept', () => {
  assert.deepEqual(newContactOf({ name: ' Ada Núñez ', email: ' ada@example.org ', extra: 1 }), { name: 'Ada Núñez', email: 'ada@example.org' })
})

for (const bad of [
  null, 1, 'text', [], {}, { name: 'a' }, { email: 'a@b.c' }, { name: 1, email: 'a@b.c' }, { name: '', email: 'a@b.c' }, { name: '  ', email: 'a@b.c' },
  { name: 'a\u0000b', email: 'a@b.c' }, { name: 'a\ud800', email: 'a@b.c' }, { name: 'x'.repeat(201), email: 'a@b.c' },
  { name: 'a', email: 'b' }, { name: 'a', email: 'a@b' }, { name: 'a', email: 'a b@c.d' }, { name: 'a', email: 'a@b..c' }, { name: 'a', email: 'a@@b.c' },
  { name: 'a', email: `${'x'.repeat(251)}@b.c` },
]) {
  test(`no contact: ${JSON.stringify(bad)?.slice(0, 60)}`, () => assert.throws(() => newContactOf(bad), BadInput))
}

test('ids', () => {
  assert.equal(idOf('1'), 1n)
  assert.equal(idOf('9223372036854775807'), 9223372036854775807n)
  for (const bad of ['0', '-1', '01', '1.5', 'x', '', '9223372036854775808', '1'.repeat(30), "1' OR 1=1"]) assert.equal(idOf(bad), null)
})

test('credentials', () => {
  assert.deepEqual(credentialsOf({ email: ' Demo@PayAid.lab', password: 'demo' }), { email: 'demo@payaid.lab', password: 'demo' })
  for (const bad of [null, {}, { email: 'a' }, { email: '', password: '' }, { email: 'a', password: 'x'.repeat(2000) }, { email: 'a\u0000', password: 'x' }]) {
    assert.throws(() => credentialsOf(bad), BadInput)
  }
})

test('durations', () => {
  assert.equal(durationOf(null, 5, 10, 'ms'), 5)
  assert.equal(durationOf('10', 5, 10, 'ms'), 10)
  for (const bad of ['11', '-1', '1e3', '', 'x']) assert.throws(() => durationOf(bad, 5, 10, 'ms'), BadInput)
})
