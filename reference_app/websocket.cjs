'use strict'

/**
 * Next's route handlers have no WebSockets, so this serves one beside them:
 * /api/echo sends every message back. server.js loads it, and it does nothing
 * without REFERENCE_TEST_ROUTES=1. Its end in good order is drain.cjs's to see to.
 */

const http = require('node:http')
const { WebSocketServer } = require('ws')

const PATH = '/api/echo'
const MOST_BYTES = 16 * 1024

/** Next leaves an upgrade alone that is none of its own, and this one the others. */
function serveEcho(server) {
  const echo = new WebSocketServer({ noServer: true, clientTracking: false, maxPayload: MOST_BYTES })
  server.on('upgrade', (request, socket, head) => {
    if (request.url.split('?', 1)[0] !== PATH) return
    echo.handleUpgrade(request, socket, head, (client) => {
      // Too much at once, or no frame: the library has closed with the code for it already.
      client.on('error', () => {})
      client.on('message', (data, binary) => client.send(data, { binary }))
    })
  })
}

function install() {
  const createServer = http.createServer
  http.createServer = function (...args) {
    const server = createServer.apply(this, args)
    serveEcho(server)
    return server
  }
}

module.exports = { serveEcho }

// As in src/lib/env.ts, which complains of anything else.
if (['1', 'true', 'yes', 'on'].includes((process.env.REFERENCE_TEST_ROUTES ?? '').trim().toLowerCase())) install()
