import { cookies } from 'next/headers'
import { DatabaseUnavailable, KeyReused } from './db'
import { formatLsn, parseLsn } from './lsn'
import { BadInput } from './validate'

const NO_STORE = { 'Cache-Control': 'no-store' }
const BODY_LIMIT = 16 * 1024
/** Short: past it any healthy replica has caught up, and a shared marker in Redis does the same for everybody. */
const SEEN_SECONDS = 60
const SEEN_COOKIE = 'payaid_seen'

class TooLarge extends Error {}

export function json(body: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return Response.json(body, { status, headers: { ...NO_STORE, ...headers } })
}

export const notFound = () => json({ error: 'Not found.' }, 404)

/** Turns what a handler throws into the answer a client can act on. */
export async function answer(work: () => Promise<Response>): Promise<Response> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof BadInput) return json({ error: error.message }, 400)
    if (error instanceof TooLarge) return json({ error: `The body may have at most ${BODY_LIMIT} bytes.` }, 413)
    if (error instanceof KeyReused) return json({ error: error.message }, 422)
    if (error instanceof DatabaseUnavailable) {
      return json({ error: 'The database does not answer; try again shortly.' }, 503, { 'Retry-After': '1' })
    }
    console.error('unexpected:', error)
    return json({ error: 'Something went wrong here.' }, 500)
  }
}

async function bodyText(request: Request): Promise<string> {
  const parts: Uint8Array[] = []
  let size = 0
  if (request.body !== null) {
    for await (const part of request.body as unknown as AsyncIterable<Uint8Array>) {
      size += part.byteLength
      if (size > BODY_LIMIT) throw new TooLarge()
      parts.push(part)
    }
  }
  return Buffer.concat(parts).toString('utf8')
}

export interface Body {
  readonly value: unknown
  /** Whether a browser's form sent it, which wants a page and not JSON in return. */
  readonly form: boolean
}

export async function readBody(request: Request): Promise<Body> {
  const text = await bodyText(request)
  const type = (request.headers.get('content-type') ?? '').toLowerCase()
  // Several command line clients send JSON under a form's content type.
  if (type.startsWith('application/x-www-form-urlencoded') && !text.trimStart().startsWith('{')) {
    return { value: Object.fromEntries(new URLSearchParams(text)), form: true }
  }
  try {
    return { value: JSON.parse(text) as unknown, form: false }
  } catch {
    throw new BadInput('The body must be JSON.')
  }
}

/** Behind TLS at the edge the cookie must never travel in the clear; in a lab without TLS it must still work. */
export const isSecure = (request: Request): boolean =>
  request.headers.get('x-forwarded-proto')?.split(',', 1)[0]?.trim() === 'https'

/** The position of this session's latest write. It is no secret and grants nothing: a forged one costs a read on the primary. */
export async function seenPosition(): Promise<number | null> {
  return parseLsn((await cookies()).get(SEEN_COOKIE)?.value.replace('-', '/'))
}

export async function rememberPosition(position: number, secure: boolean): Promise<void> {
  // A hyphen, since a slash in a cookie's value would be escaped.
  const value = formatLsn(position).replace('/', '-')
  ;(await cookies()).set(SEEN_COOKIE, value, { httpOnly: true, sameSite: 'lax', secure, path: '/', maxAge: SEEN_SECONDS })
}
