import { cookies } from 'next/headers'
import { env } from '@/lib/env'
import { answer, isSecure, json, readBody } from '@/lib/http'
import { issueToken, SESSION_COOKIE, SESSION_SECONDS } from '@/lib/session'
import { signIn } from '@/lib/users'
import { credentialsOf } from '@/lib/validate'

export const dynamic = 'force-dynamic'

/** The address is relative: the app does not know under which name the edge serves it. */
const go = (to: string) => new Response(null, { status: 303, headers: { Location: to, 'Cache-Control': 'no-store' } })

export function POST(request: Request): Promise<Response> {
  return answer(async () => {
    const { value, form } = await readBody(request)
    const email = await signIn(credentialsOf(value))
    if (email === null) return form ? go('/login?failed=1') : json({ error: 'Wrong email or password.' }, 401)
    ;(await cookies()).set(SESSION_COOKIE, await issueToken(email, env().jwtSecret), {
      httpOnly: true,
      sameSite: 'lax',
      secure: isSecure(request),
      path: '/',
      maxAge: SESSION_SECONDS,
    })
    return form ? go('/dashboard') : json({ email })
  })
}
