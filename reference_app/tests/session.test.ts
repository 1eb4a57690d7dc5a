import assert from 'node:assert/strict'
import test from 'node:test'
import { SignJWT } from 'jose'
import { hashPassword, verifyPassword } from '../src/lib/password'
import { issueToken, readToken } from '../src/lib/session'

const secret = 'a secret of sufficient length'

test('a token names its owner to whoever has the secret', async () => {
  const token = await issueToken('demo@payaid.lab', secret)
  assert.equal(await readToken(token, secret), 'demo@payaid.lab')
  assert.equal(await readToken(token, `${secret}.`), null)
})

test('what is not a valid token is nobody', async () => {
  const token = await issueToken('demo@payaid.lab', secret)
  const [header, payload] = token.split('.')
  const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`
  const foreign = await new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setSubject('x').setIssuer('elsewhere').sign(new TextEncoder().encode(secret))
  for (const bad of [undefined, '', 'x', `${header}.${payload}.`, unsigned, foreign, await issueToken('demo@payaid.lab', secret, -60)]) {
    assert.equal(await readToken(bad, secret), null)
  }
})

test('passwords', async () => {
  const stored = await hashPassword('demo')
  assert.notEqual(stored, await hashPassword('demo'))
  assert.equal(await verifyPassword('demo', stored), true)
  assert.equal(await verifyPassword('Demo', stored), false)
  assert.equal(await verifyPassword('demo', undefined), false)
  assert.equal(await verifyPassword('demo', 'plain$demo'), false)
})
