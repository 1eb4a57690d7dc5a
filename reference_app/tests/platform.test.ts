import assert from 'node:assert/strict'
import test from 'node:test'
import { parseEnv } from '../src/lib/env'
import { verdict } from '../src/lib/health'
import { exposition, metrics, methodLabel, routeLabel } from '../src/lib/metrics'
import { mayScrape, plain } from '../src/lib/peer'

test('Ollama takes no node out unless it is required', () => {
  const checks = { database: true, redis: true, ollama: false }
  assert.equal(verdict(checks, new Set(['database', 'redis'])), 'healthy')
  assert.equal(verdict(checks, new Set(['database', 'redis', 'ollama'])), 'unhealthy')
  assert.equal(verdict({ ...checks, redis: false }, new Set(['database'])), 'healthy')
  assert.equal(verdict({ ...checks, redis: false }, new Set(['database', 'redis'])), 'unhealthy')
})

test('who may scrape', () => {
  const { metricsAllow } = parseEnv({
    DATABASE_URL: 'postgresql://db/app', REDIS_NODES: 'redis:6379', JWT_SECRET: 'a secret of sufficient length',
    METRICS_ALLOW: '10.0.0.5, 10.1.0.0/24,fd00::/16',
  })
  const may = (address: string, forwarded = false) => mayScrape({ address: plain(address), forwarded }, metricsAllow)
  for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1', '10.0.0.5', '10.1.0.77', '::ffff:10.1.0.77', 'fd00::9']) assert.equal(may(address), true, address)
  for (const address of ['10.0.0.6', '10.2.0.1', 'fe80::1', '', 'localhost']) assert.equal(may(address), false, address)
  assert.equal(may('127.0.0.1', true), false)
  assert.equal(may('10.0.0.5', true), false)
  assert.equal(mayScrape(undefined, metricsAllow), false)
})

test('metric labels come from a fixed set', () => {
  assert.equal(routeLabel('/api/contacts?x=1'), '/api/contacts')
  assert.equal(routeLabel('/api/contacts/17'), '/api/contacts/:id')
  assert.equal(routeLabel('/api/contacts/17/messages'), '/api/contacts/:id/messages')
  assert.equal(routeLabel('/api/jobs'), '/api/jobs')
  assert.equal(routeLabel('/api/jobs/17?x'), '/api/jobs/:id')
  assert.equal(routeLabel('/_next/static/a/b.js'), '/_next/static')
  assert.equal(routeLabel('/wp-login.php'), 'other')
  assert.equal(methodLabel('GET'), 'GET')
  assert.equal(methodLabel('PROPFIND'), 'other')
})

test('histogram buckets are cumulative, and labels are escaped', () => {
  metrics().requests.observe({ route: 'a"b\\c' }, 0.07)
  metrics().requests.observe({ route: 'a"b\\c' }, 3)
  const text = exposition('1', '3000')
  metrics().loop.disable()
  const labels = 'route="a\\"b\\\\c"'
  for (const line of [
    `http_request_duration_seconds_bucket{${labels},le="0.05"} 0`, `http_request_duration_seconds_bucket{${labels},le="0.1"} 1`,
    `http_request_duration_seconds_bucket{${labels},le="1"} 1`, `http_request_duration_seconds_bucket{${labels},le="+Inf"} 2`,
    `http_request_duration_seconds_count{${labels}} 2`,
  ]) assert.ok(text.includes(`${line}\n`), line)
})
