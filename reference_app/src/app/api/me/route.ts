import { cookies } from 'next/headers'
import { env } from '@/lib/env'
import { answer, json } from '@/lib/http'
import { readToken, SESSION_COOKIE } from '@/lib/session'

export const dynamic = 'force-dynamic'

export function GET(): Promise<Response> {
  return answer(async () => {
    const email = await readToken((await cookies()).get(SESSION_COOKIE)?.value, env().jwtSecret)
    return email === null ? json({ error: 'Not signed in.' }, 401) : json({ email })
  })
}
