import { setTimeout as sleep } from 'node:timers/promises'
import { env } from '@/lib/env'
import { answer, json, notFound } from '@/lib/http'
import { durationOf } from '@/lib/validate'
import { whoami } from '@/lib/whoami'

export const dynamic = 'force-dynamic'

export function GET(request: Request): Promise<Response> {
  return answer(async () => {
    if (!env().testRoutes) return notFound()
    const ms = durationOf(new URL(request.url).searchParams.get('ms'), 1000, 30_000, 'ms')
    await sleep(ms)
    return json({ slept_ms: ms, ...whoami() })
  })
}

/** The same for a method that no balancer may send twice. */
export const POST = GET
