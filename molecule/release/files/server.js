'use strict'

// The smallest app that keeps the contract: it says which release it is, and what it was told it keeps nowhere. BEHAVIOUR is
// what is wrong with a release that was built for that.

const http = require('node:http')

const BEHAVIOUR = 'good'

if (BEHAVIOUR === 'crash') throw new Error('this release is broken')

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const whoami = { node: require('node:os').hostname(), process: process.env.PORT, release: process.env.RELEASE }

const server = http.createServer(async (request, response) => {
  const url = new URL(request.url, 'http://app')
  let body = ''
  for await (const part of request) body += part
  if (BEHAVIOUR === 'hang') await sleep(600000)
  const sick = BEHAVIOUR === 'sick' && url.pathname === '/api/health'
  if (url.pathname === '/slow') await sleep(Number(url.searchParams.get('ms')))
  response.writeHead(sick ? 503 : 200, { 'Content-Type': 'application/json' })
  response.end(JSON.stringify({ ...whoami, status: sick ? 'unhealthy' : 'healthy', taken: body }))
})
server.keepAliveTimeout = Number(process.env.KEEP_ALIVE_TIMEOUT || 65000)
server.listen(Number(process.env.PORT), process.env.HOSTNAME)
