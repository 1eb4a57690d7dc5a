import { AsyncLocalStorage } from 'node:async_hooks'
import diagnostics from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { BlockList, isIP } from 'node:net'
import type { Env } from './env'
import { methodLabel, metrics, routeLabel } from './metrics'
import { single } from './shared'

export interface Peer {
  /** The address of the TCP connection's other end, never a header's word. */
  readonly address: string
  /** Whether the request came with X-Forwarded-For, that is through a proxy. */
  readonly forwarded: boolean
}

const current = () => single('peer', () => new AsyncLocalStorage<Peer>())

/**
 * Listens to Node's own HTTP events, below Next: they see every request, pages
 * and files too, with the socket, and before Next writes an X-Forwarded-For of
 * its own into the headers.
 */
export function watchRequests(): void {
  single('watching', () => {
    const started = new WeakMap<ServerResponse, bigint>()
    diagnostics.subscribe('http.server.request.start', (message) => {
      const { request, response } = message as { request: IncomingMessage; response: ServerResponse }
      started.set(response, process.hrtime.bigint())
      current().enterWith({
        address: plain(request.socket.remoteAddress ?? ''),
        forwarded: request.headers['x-forwarded-for'] !== undefined || request.headers.forwarded !== undefined,
      })
    })
    diagnostics.subscribe('http.server.response.finish', (message) => {
      const { request, response } = message as { request: IncomingMessage; response: ServerResponse }
      const start = started.get(response)
      if (start === undefined) return
      metrics().requests.observe(
        { method: methodLabel(request.method), route: routeLabel(request.url ?? ''), status: String(response.statusCode) },
        Number(process.hrtime.bigint() - start) / 1e9,
      )
    })
    return true
  })
}

/** The peer of the request being answered; undefined before watchRequests(). */
export function peer(): Peer | undefined {
  return current().getStore()
}

/** Dual-stack sockets report IPv4 peers as ::ffff:a.b.c.d. */
export function plain(address: string): string {
  return address.toLowerCase().startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address
}

/** Loopback and the listed addresses may scrape; nothing that came through a proxy may. */
export function mayScrape(who: Peer | undefined, allow: Env['metricsAllow']): boolean {
  if (who === undefined || who.forwarded) return false
  const version = isIP(who.address)
  if (version === 0) return false
  const allowed = new BlockList()
  allowed.addSubnet('127.0.0.0', 8, 'ipv4')
  allowed.addAddress('::1', 'ipv6')
  for (const range of allow) allowed.addSubnet(range.address, range.prefix, range.family)
  return allowed.check(who.address, version === 4 ? 'ipv4' : 'ipv6')
}
