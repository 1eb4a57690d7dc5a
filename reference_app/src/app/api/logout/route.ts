import { cookies } from 'next/headers'
import { SESSION_COOKIE } from '@/lib/session'

export const dynamic = 'force-dynamic'

export async function POST(): Promise<Response> {
  ;(await cookies()).delete(SESSION_COOKIE)
  return new Response(null, { status: 303, headers: { Location: '/', 'Cache-Control': 'no-store' } })
}
