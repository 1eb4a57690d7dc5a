import { env } from '@/lib/env'
import { exposition } from '@/lib/metrics'
import { mayScrape, peer } from '@/lib/peer'

export const dynamic = 'force-dynamic'

export function GET(): Response {
  const headers = { 'Cache-Control': 'no-store' }
  if (!mayScrape(peer(), env().metricsAllow)) return new Response('Forbidden\n', { status: 403, headers })
  return new Response(exposition(env().release, env().port), {
    headers: { ...headers, 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' },
  })
}
