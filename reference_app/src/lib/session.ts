import { jwtVerify, SignJWT } from 'jose'

export const SESSION_COOKIE = 'payaid_session'
export const SESSION_SECONDS = 8 * 60 * 60
const ISSUER = 'payaid-reference'

const keyOf = (secret: string) => new TextEncoder().encode(secret)

export async function issueToken(email: string, secret: string, seconds = SESSION_SECONDS): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  return new SignJWT({})
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuer(ISSUER)
    .setSubject(email)
    .setIssuedAt(now)
    .setExpirationTime(now + seconds)
    .sign(keyOf(secret))
}

/** The e-mail address the token was issued to, or null: nothing but the secret is needed, so any node can tell. */
export async function readToken(token: string | undefined, secret: string): Promise<string | null> {
  if (!token) return null
  try {
    // Naming the algorithm keeps a token from choosing its own.
    const { payload } = await jwtVerify(token, keyOf(secret), { algorithms: ['HS256'], issuer: ISSUER, clockTolerance: 5 })
    return payload.sub ?? null
  } catch {
    return null
  }
}
