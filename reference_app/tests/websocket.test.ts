import assert from 'node:assert/strict'
import http from 'node:http'
import { createRequire } from 'node:module'
import net from 'node:net'
import type { AddressInfo } from 'node:net'
import test from 'node:test'

interface State {
  watch(server: http.Server): void
  sockets: Map<net.Socket, number>
}
interface Client {
  on(event: 'message', then: (data: Buffer, binary: boolean) => void): void
  on(event: 'close', then: (code: number) => void): void
  on(event: 'open', then: () => void): void
  on(event: 'error', then: (error: Error) => void): void
  send(data: string | Buffer): void
  close(code: number): void
}
const require = createRequire(import.meta.url)
const { DrainState, drain } = require('../drain.cjs') as {
  DrainState: new () => State
  drain(state: State, settings: { delay: number; timeout: number }): Promise<boolean>
}
const { serveEcho } = require('../websocket.cjs') as { serveEcho(server: http.Server): void }
const { WebSocket } = require('ws') as { WebSocket: new (url: string) => Client }

/** As the app runs: watched by the drain, and whatever `serve` puts on it. */
async function listen(serve: (server: http.Server) => void): Promise<{ state: State; port: number }> {
  const state = new DrainState()
  const server = http.createServer((_request, response) => response.end('plain'))
  state.watch(server)
  serve(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { state, port: (server.address() as AddressInfo).port }
}

async function open(port: number, path = '/api/echo'): Promise<Client> {
  const client = new WebSocket(`ws://127.0.0.1:${port}${path}`)
  await new Promise<void>((resolve, reject) => {
    client.on('open', resolve)
    client.on('error', reject)
  })
  return client
}

const closed = (client: Client) => new Promise<number>((resolve) => client.on('close', resolve))
const answer = (client: Client) =>
  new Promise<{ text: string; binary: boolean }>((resolve) => client.on('message', (data, binary) => resolve({ text: String(data), binary })))

/** A connection that asks for an upgrade by hand, and keeps everything that comes. */
function ask(port: number, upgrade: string): { socket: net.Socket; came: () => Buffer; ended: Promise<'end' | 'error'> } {
  const parts: Buffer[] = []
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const ended = new Promise<'end' | 'error'>((resolve) => {
    socket.on('end', () => resolve('end'))
    socket.on('error', () => resolve('error'))
  })
  socket.on('data', (part) => parts.push(part))
  socket.write(`GET /raw HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: ${upgrade}\r\n\r\n`)
  return { socket, came: () => Buffer.concat(parts), ended }
}

const HANDSHAKE = 'HTTP/1.1 101 Switching Protocols\r\n\r\n'
const accept = (server: http.Server) => server.on('upgrade', (_request, socket) => socket.write(HANDSHAKE))
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const QUICK = { delay: 0, timeout: 10_000 }

/** Drains, and says how long that took. */
async function timed(state: State, settings = QUICK): Promise<{ done: boolean; ms: number }> {
  const start = Date.now()
  const done = await drain(state, settings)
  return { done, ms: Date.now() - start }
}

test('every message comes back, as it was sent', async () => {
  const { state, port } = await listen(serveEcho)
  const client = await open(port)
  let echo = answer(client)
  client.send('hello')
  assert.deepEqual(await echo, { text: 'hello', binary: false })
  const other = await open(port, '/api/echo?x=1')
  echo = answer(other)
  other.send(Buffer.from('bytes'))
  assert.deepEqual(await echo, { text: 'bytes', binary: true })
  assert.equal((await timed(state)).done, true)
})

test('a message that is too long closes with the code for it, and the server lives', async () => {
  const { state, port } = await listen(serveEcho)
  const client = await open(port)
  const code = closed(client)
  client.send('x'.repeat(16 * 1024 + 1))
  assert.equal(await code, 1009)
  await open(port)
  assert.equal((await timed(state)).done, true)
})

test('other upgrades are left to others', async () => {
  const { state, port } = await listen((server) => {
    serveEcho(server)
    server.on('upgrade', (request, socket) => {
      if (request.url === '/raw') socket.end('HTTP/1.1 418 Not mine\r\n\r\n')
    })
  })
  const other = ask(port, 'websocket')
  assert.equal(await other.ended, 'end')
  assert.match(String(other.came()), /^HTTP\/1.1 418 /)
  other.socket.end()
  assert.equal((await timed(state)).done, true)
})

test('on a drain WebSockets are served through the delay, then told that the server is going away', async () => {
  const { state, port } = await listen(serveEcho)
  const clients = [await open(port), await open(port)]
  const codes = Promise.all(clients.map(closed))
  const drained = timed(state, { delay: 300, timeout: 10_000 })
  await pause(100)
  const late = await open(port)
  const echo = answer(late)
  late.send('still there')
  assert.equal((await echo).text, 'still there')
  const lateCode = closed(late)
  assert.deepEqual(await codes, [1001, 1001])
  assert.equal(await lateCode, 1001)
  const { done, ms } = await drained
  assert.equal(done, true)
  assert.ok(ms >= 300 && ms < 1200, `${ms} ms`)
})

test('an app that closes its WebSockets itself has the last word', async () => {
  const sent: Buffer[] = []
  const { state, port } = await listen((server) =>
    server.on('upgrade', (_request, socket) => {
      socket.write(HANDSHAKE)
      setTimeout(() => socket.end(Buffer.from([0x88, 0x02, 0x03, 0xf4])), 200)
    }),
  )
  const client = ask(port, 'websocket')
  client.socket.on('data', (part) => sent.push(part))
  await pause(50)
  const drained = timed(state, { delay: 300, timeout: 10_000 })
  assert.equal(await client.ended, 'end')
  client.socket.end()
  assert.equal((await drained).done, true)
  assert.deepEqual(Buffer.concat(sent).subarray(HANDSHAKE.length), Buffer.from([0x88, 0x02, 0x03, 0xf4]))
})

test('neither an app nor a client that never ends a WebSocket holds the exit', async () => {
  const { state, port } = await listen(accept)
  const client = ask(port, 'WebSocket')
  await pause(50)
  const drained = timed(state)
  assert.equal(await client.ended, 'end')
  assert.deepEqual(client.came().subarray(HANDSHAKE.length), Buffer.from([0x88, 0x02, 0x03, 0xe9]))
  const { done, ms } = await drained
  assert.equal(done, true)
  assert.ok(ms > 1000 && ms < 3500, `${ms} ms`)
  client.socket.destroy()
})

test('a connection upgraded to something else just ends', async () => {
  const { state, port } = await listen(accept)
  const client = ask(port, 'tcp')
  await pause(50)
  const drained = timed(state)
  assert.equal(await client.ended, 'end')
  assert.equal(String(client.came()), HANDSHAKE)
  client.socket.end()
  assert.equal((await drained).done, true)
})

test('a handshake under way is answered before the goodbye; one that nobody answers does not hold the exit', async () => {
  const { state, port } = await listen((server) =>
    server.on('upgrade', (request, socket) => {
      if (request.headers.upgrade === 'websocket') setTimeout(() => socket.write(HANDSHAKE), 400)
    }),
  )
  const slow = ask(port, 'websocket')
  const never = ask(port, 'WEBSOCKET')
  await pause(50)
  const drained = timed(state)
  assert.equal(await slow.ended, 'end')
  assert.deepEqual(slow.came(), Buffer.concat([Buffer.from(HANDSHAKE), Buffer.from([0x88, 0x02, 0x03, 0xe9])]))
  slow.socket.end()
  assert.equal(await never.ended, 'end')
  assert.equal(never.came().length, 0)
  never.socket.end()
  const { done, ms } = await drained
  assert.equal(done, true)
  assert.ok(ms < 3500, `${ms} ms`)
})
