// Copyright (c) 2026, The payaid.scaling maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// What an app does with ioredis all day, as the app's user. Prints "fine", or fails with what was refused.
const assert = require('node:assert')
const { readFileSync } = require('node:fs')
const { Cluster } = require('ioredis')

const { nodes, username, password, ca } = JSON.parse(readFileSync(0, 'utf8'))
const tls = ca ? { ca: readFileSync(ca) } : undefined
const options = { username, password, tls, connectionName: 'molecule' }
const make = (more) =>
  new Cluster(nodes, { dnsLookup: (address, done) => done(null, address), redisOptions: options, ...more })

async function main() {
  const redis = make({})
  const replicas = make({ scaleReads: 'slave' })
  const tag = `{molecule-${process.pid}}`
  const key = (name) => `${tag}:${name}`

  assert.equal(await redis.set(key('text'), 'value', 'EX', 60, 'NX'), 'OK')
  assert.equal(await redis.get(key('text')), 'value')
  assert.equal(await redis.incrby(key('number'), 5), 5)
  assert.equal(await redis.hset(key('hash'), { a: '1', b: '2' }), 2)
  assert.deepEqual(await redis.hgetall(key('hash')), { a: '1', b: '2' })
  assert.equal(await redis.lpush(key('list'), 'x', 'y'), 2)
  assert.equal(await redis.sadd(key('set'), 'x'), 1)
  assert.equal(await redis.zadd(key('sorted'), 1, 'x'), 1)
  assert.ok(await redis.xadd(key('stream'), '*', 'field', 'value'))
  assert.equal(await redis.pfadd(key('many'), 'x'), 1)
  const many = await redis.multi().set(key('one'), '1').get(key('one')).expire(key('one'), 60).exec()
  assert.deepEqual(many, [[null, 'OK'], [null, '1'], [null, 1]])
  const pipe = await redis.pipeline().mget(key('text'), key('one')).ttl(key('one')).exec()
  assert.deepEqual(pipe[0], [null, ['value', '1']])
  assert.equal(await redis.eval('return redis.call("GET", KEYS[1])', 1, key('text')), 'value')
  redis.defineCommand('twice', { numberOfKeys: 1, lua: 'return redis.call("INCRBY", KEYS[1], 2)' })
  assert.equal(await redis.twice(key('number')), 7)

  await new Promise((resolve, reject) => {
    const subscriber = make({})
    subscriber.on('message', (_channel, said) => (said === 'hello' ? resolve(subscriber.quit()) : reject(said)))
    subscriber.subscribe('molecule', (error) => (error ? reject(error) : redis.publish('molecule', 'hello')))
  })

  let found = 0
  for (const node of redis.nodes('master')) {
    for await (const keys of node.scanStream({ match: `${tag}:*` })) found += keys.length
  }
  assert.equal(found, 9, `SCAN found ${found} keys`)
  // From a replica, which ioredis asks with READONLY before.
  const until = Date.now() + 2000
  while ((await replicas.get(key('text'))) !== 'value') assert.ok(Date.now() < until, 'the replicas lag')
  assert.ok((await redis.info()).includes('redis_version'))
  assert.equal(await redis.unlink(key('text'), key('number')), 2)
  await assert.rejects(redis.flushall(), /NOPERM/)
  await assert.rejects(redis.nodes('master')[0].keys('*'), /NOPERM/)
  redis.disconnect()
  replicas.disconnect()
}

main().then(
  () => console.log('fine'),
  (error) => {
    console.error(error)
    process.exit(1)
  },
)
