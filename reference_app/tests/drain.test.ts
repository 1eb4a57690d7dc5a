import assert from 'node:assert/strict'
import http from 'node:http'
import { createRequire } from 'node:module'
import net from 'node:net'
import type { AddressInfo } from 'node:net'
import test from 'node:test'

interface State {
  watch(server: http.Server): void
  inFlight: Set<unknown>
}
const { DrainState, drain, inheritsSocket, settingsOf } = createRequire(import.meta.url)('../drain.cjs') as {
  DrainState: new () => State
  drain(state: State, settings: { delay: number; timeout: number }): Promise<boolean>
  inheritsSocket(env: NodeJS.ProcessEnv, pid: number): boolean
  settingsOf(env: Record<string, string | undefined>): { delay: number; timeout: number }
}

async function serve(): Promise<{ state: State; port: number }> {
  const state = new DrainState()
  const server = http.createServer((request, response) => {
    setTimeout(() => response.end('done'), Number(new URL(request.url!, 'http://x').searchParams.get('ms') ?? 0))
  })
  state.watch(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { state, port: (server.address() as AddressInfo).port }
}

function get(port: number, path: string, agent?: http.Agent): Promise<{ status: number; connection: string | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    http.get({ port, path, agent, host: '127.0.0.1' }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (part: string) => (body += part))
      response.on('end', () => resolve({ status: response.statusCode!, connection: response.headers.connection, body }))
    }).on('error', reject)
  })
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

test('a request in flight is finished, and then new ones are refused', async () => {
  const { state, port } = await serve()
  const slow = get(port, '/?ms=400')
  await pause(100)
  const drained = drain(state, { delay: 0, timeout: 5000 })
  await pause(100)
  await assert.rejects(get(port, '/'), /ECONNREFUSED/)
  const answer = await slow
  assert.equal(answer.body, 'done')
  assert.equal(answer.connection, 'close')
  assert.equal(await drained, true)
})

test('during the delay health says 503 and all else is served, each connection for the last time', async () => {
  const { state, port } = await serve()
  const agent = new http.Agent({ keepAlive: true })
  assert.equal((await get(port, '/', agent)).connection, 'keep-alive')
  const drained = drain(state, { delay: 400, timeout: 5000 })
  await pause(50)
  const health = await get(port, '/api/health', agent)
  assert.equal(health.status, 503)
  assert.equal((JSON.parse(health.body) as { status: string }).status, 'unhealthy')
  const other = await get(port, '/', agent)
  assert.deepEqual([other.status, other.connection], [200, 'close'])
  assert.equal(await drained, true)
  agent.destroy()
})

test('neither an idle keep-alive connection nor one that never spoke holds the exit', async () => {
  const { state, port } = await serve()
  const agent = new http.Agent({ keepAlive: true })
  await get(port, '/', agent)
  const silent = net.connect(port, '127.0.0.1')
  silent.on('error', () => {})
  await new Promise((resolve) => silent.once('connect', resolve))
  const start = Date.now()
  assert.equal(await drain(state, { delay: 0, timeout: 5000 }), true)
  assert.ok(Date.now() - start < 2000)
  agent.destroy()
})

test('the time limit holds', async () => {
  const { state, port } = await serve()
  const cut = get(port, '/?ms=1500')
  await pause(50)
  assert.equal(await drain(state, { delay: 0, timeout: 200 }), false)
  assert.equal(state.inFlight.size, 1)
  await cut
})

test('settings', () => {
  assert.deepEqual(settingsOf({}), { delay: 0, timeout: 25_000 })
  assert.deepEqual(settingsOf({ DRAIN_DELAY_MS: '3000', DRAIN_TIMEOUT_MS: '9000' }), { delay: 3000, timeout: 9000 })
  assert.throws(() => settingsOf({ DRAIN_DELAY_MS: '3s' }), /^RangeError: DRAIN_DELAY_MS /)
  assert.throws(() => settingsOf({ DRAIN_DELAY_MS: '3000', DRAIN_TIMEOUT_MS: '3000' }), /DRAIN_TIMEOUT_MS/)
  for (const PORT of ['x', '0', '3000x', '65536']) assert.throws(() => settingsOf({ PORT }), /^RangeError: PORT /)
  assert.throws(() => settingsOf({ KEEP_ALIVE_TIMEOUT: 'long' }), /KEEP_ALIVE_TIMEOUT/)
})

test('a socket is taken over only when it was meant for this process', () => {
  assert.equal(inheritsSocket({ LISTEN_FDS: '1', LISTEN_PID: '7' } as unknown as NodeJS.ProcessEnv, 7), true)
  assert.equal(inheritsSocket({ LISTEN_FDS: '1', LISTEN_PID: '8' } as unknown as NodeJS.ProcessEnv, 7), false)
  assert.equal(inheritsSocket({} as NodeJS.ProcessEnv, 7), false)
})
