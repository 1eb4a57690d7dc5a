'use strict'

/**
 * Ends the server without failing a request. Preloaded before the server:
 *
 *   node --require ./drain.cjs server.js
 *
 * On SIGTERM or SIGINT:
 *  1. for DRAIN_DELAY_MS it goes on serving, but health says 503 and every
 *     answer says "Connection: close", so that balancers and clients move away;
 *  2. it stops accepting, finishes what is in flight, and closes connections
 *     as they fall idle; WebSockets that the app has not closed by then are told
 *     that the server is going away (1001), and other upgraded connections end;
 *  3. it disconnects the pools and exits 0. If that is not done DRAIN_TIMEOUT_MS
 *     after the signal it says how many requests it cuts, and exits 1.
 *
 * Next's own handling closes idle connections once and then serves a busy
 * keep-alive connection for as long as its client likes.
 *
 * Under systemd socket activation (LISTEN_FDS) it serves the socket it was
 * given instead of opening one: connections that come during a restart then
 * wait in that socket's queue instead of being refused.
 */

const http = require('node:http')
const net = require('node:net')

const HEALTH = '/api/health'
const SWEEP_MS = 50
/** A connection that never said anything may have a request on the wire: it gets this long. */
const SILENT_MS = 500
/** RFC 6455: a whole frame that closes with 1001, "going away". Servers do not mask theirs. */
const GOING_AWAY = Buffer.from([0x88, 0x02, 0x03, 0xe9])
/** What the other end has to answer that, or the app to answer an upgrade; as long again until the connection is cut. */
const FAREWELL_MS = 1000
const CLOSERS_MS = 2000
const FIRST_FD = 3
/** EX_CONFIG of sysexits.h. */
const EX_CONFIG = 78

class DrainState {
  constructor() {
    this.draining = false
    this.servers = new Set()
    this.sockets = new Map()
    this.inFlight = new Set()
    this.upgraded = new Map()
  }

  watch(server) {
    this.servers.add(server)
    server.on('connection', (socket) => {
      this.sockets.set(socket, Date.now())
      socket.once('close', () => this.sockets.delete(socket))
    })
    const emit = server.emit
    server.emit = (event, ...args) => {
      if (event === 'request' && this.take(args[0], args[1])) return true
      if (event === 'upgrade') this.upgrade(args[0], args[1])
      return emit.call(server, event, ...args)
    }
  }

  /** Counts the request; true when it was answered here. */
  take(request, response) {
    this.inFlight.add(response)
    response.once('close', () => this.inFlight.delete(response))
    if (!this.draining) return false
    response.shouldKeepAlive = false
    if (pathOf(request.url) !== HEALTH) return false
    const body = JSON.stringify({
      status: 'unhealthy',
      checks: { database: false, redis: false, ollama: false },
      draining: true,
      timestamp: new Date().toISOString(),
    })
    response.writeHead(503, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', 'Content-Length': Buffer.byteLength(body) })
    response.end(request.method === 'HEAD' ? undefined : body)
    return true
  }

  /** From here on the connection is the app's: no answer will end it, and to Node it is never idle. */
  upgrade(request, socket) {
    this.upgraded.set(socket, {
      webSocket: (request.headers.upgrade ?? '').toLowerCase() === 'websocket',
      written: socket.bytesWritten,
      told: false,
      due: undefined,
    })
    socket.once('close', () => this.upgraded.delete(socket))
  }

  /** From here on every answer is its connection's last, also those already being worked on. */
  begin() {
    this.draining = true
    for (const response of this.inFlight) if (!response.headersSent) response.shouldKeepAlive = false
  }

  sweep() {
    // Node knows which connections are between requests; one that never sent a
    // byte does not count as idle there and would hold the exit for a minute.
    for (const server of this.servers) server.closeIdleConnections()
    const before = Date.now() - SILENT_MS
    for (const [socket, since] of this.sockets) if (socket.bytesRead === 0 && since < before) socket.destroy()
    for (const [socket, upgrade] of this.upgraded) this.farewell(socket, upgrade)
  }

  /** The next step towards the connection's end, when it is time for one: a goodbye, the end of the stream, a cut. */
  farewell(socket, upgrade) {
    const now = Date.now()
    upgrade.due ??= now + FAREWELL_MS
    // Before the handshake is answered a frame would be taken for the answer; after the app's own end it says nothing new.
    if (upgrade.webSocket && !upgrade.told && !socket.writableEnded && socket.bytesWritten > upgrade.written) {
      upgrade.told = true
      upgrade.due = now + FAREWELL_MS
      // The app writes whole frames, so that this one comes between two of them.
      socket.write(GOING_AWAY)
    } else if (!upgrade.webSocket && !socket.writableEnded) {
      upgrade.due = now + FAREWELL_MS
      socket.end()
    } else if (now >= upgrade.due) {
      upgrade.due = now + FAREWELL_MS
      if (socket.writableEnded) socket.destroy()
      else socket.end()
    }
  }
}

function pathOf(url) {
  const end = url.indexOf('?')
  return end < 0 ? url : url.slice(0, end)
}

function milliseconds(env, name, fallback) {
  const text = (env[name] ?? '').trim()
  if (text === '') return fallback
  if (!/^\d{1,7}$/.test(text)) throw new RangeError(`${name} is not valid: it must be a whole number of milliseconds, at most 9999999.`)
  return Number(text)
}

function settingsOf(env) {
  const delay = milliseconds(env, 'DRAIN_DELAY_MS', 0)
  const timeout = milliseconds(env, 'DRAIN_TIMEOUT_MS', 25_000)
  if (timeout <= delay) throw new RangeError('DRAIN_TIMEOUT_MS is not valid: it must be longer than DRAIN_DELAY_MS.')
  milliseconds(env, 'KEEP_ALIVE_TIMEOUT', 0)
  // Checked here since Next takes 3000 for whatever it cannot read as a number.
  const port = (env.PORT ?? '').trim()
  if (port !== '' && !(/^\d{1,5}$/.test(port) && port >= 1 && port <= 65535)) {
    throw new RangeError('PORT is not valid: it must be a whole number from 1 to 65535.')
  }
  return { delay, timeout }
}

/** Whether systemd handed this very process one listening socket. */
function inheritsSocket(env, pid) {
  return env.LISTEN_FDS === '1' && env.LISTEN_PID === String(pid)
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function drain(state, { delay, timeout }) {
  const end = Date.now() + timeout
  state.begin()
  if (delay > 0) await pause(delay)
  for (const server of state.servers) server.close()
  while (state.inFlight.size > 0 || state.sockets.size > 0) {
    if (Date.now() >= end) return false
    state.sweep()
    await pause(SWEEP_MS)
  }
  return true
}

/** What the app registered under this name: pools to be left in good order. */
async function closePools() {
  const closers = globalThis[Symbol.for('payaid.closers')] ?? []
  await Promise.race([Promise.allSettled(closers.map((close) => close())), pause(CLOSERS_MS)])
}

function install() {
  let settings
  try {
    settings = settingsOf(process.env)
  } catch (error) {
    console.error(error.message)
    process.exit(EX_CONFIG)
  }
  const state = new DrainState()

  const createServer = http.createServer
  http.createServer = function (...args) {
    const server = createServer.apply(this, args)
    state.watch(server)
    return server
  }

  if (inheritsSocket(process.env, process.pid)) {
    const listen = net.Server.prototype.listen
    net.Server.prototype.listen = function (...args) {
      if (!state.servers.has(this)) return listen.apply(this, args)
      const then = args.find((arg) => typeof arg === 'function')
      return listen.call(this, { fd: FIRST_FD }, then)
    }
  }
  // Not for children: the descriptors are this process's.
  delete process.env.LISTEN_FDS
  delete process.env.LISTEN_PID
  delete process.env.LISTEN_FDNAMES

  // Next would otherwise install handlers of its own.
  process.env.NEXT_MANUAL_SIG_HANDLE = 'true'
  const stop = (signal) => {
    if (state.draining) return
    console.log(`${signal}: draining, ${state.inFlight.size} in flight`)
    drain(state, settings).then(async (done) => {
      if (!done) console.error(`drain: not finished after ${settings.timeout} ms, ${state.inFlight.size} requests are cut`)
      await closePools()
      process.exit(done ? 0 : 1)
    })
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}

module.exports = { DrainState, drain, settingsOf, inheritsSocket }

// A test may load the parts without arming them.
if (process.env.DRAIN_INSTALL !== '0') install()
