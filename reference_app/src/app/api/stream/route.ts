import { setTimeout as sleep } from 'node:timers/promises'
import { env } from '@/lib/env'
import { answer, notFound } from '@/lib/http'
import { durationOf } from '@/lib/validate'

export const dynamic = 'force-dynamic'

/** One line a second. It ends by itself, since a drain waits for what is in flight. */
export function GET(request: Request): Promise<Response> {
  return answer(async () => {
    if (!env().testRoutes) return notFound()
    const seconds = durationOf(new URL(request.url).searchParams.get('seconds'), 10, 30, 'seconds')
    const encoder = new TextEncoder()
    let gone = false
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        for (let i = 1; i <= seconds && !gone; i++) {
          controller.enqueue(encoder.encode(`${JSON.stringify({ line: i, of: seconds, at: new Date().toISOString() })}\n`))
          if (i < seconds) await sleep(1000)
        }
        if (!gone) controller.close()
      },
      cancel() {
        gone = true
      },
    })
    return new Response(body, {
      // The second header tells nginx to pass each line on at once.
      headers: { 'Content-Type': 'application/x-ndjson', 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no' },
    })
  })
}
