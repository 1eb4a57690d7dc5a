/** Pure checks of what comes from outside. Each answers with the value, or throws the sentence for the client. */
export class BadInput extends Error {}

export const DEFAULT_TENANT = 'demo'

export function tenantOf(header: string | null): string {
  if (header === null) return DEFAULT_TENANT
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/.test(header)) {
    throw new BadInput('X-Tenant-ID must be 1 to 63 letters, digits, hyphens or underscores, and start with a letter or digit.')
  }
  return header
}

export function idempotencyKeyOf(header: string | null): string | null {
  if (header === null) return null
  if (!/^[\x21-\x7e]{1,200}$/.test(header)) {
    throw new BadInput('Idempotency-Key must be 1 to 200 visible ASCII characters.')
  }
  return header
}

export interface NewContact {
  readonly name: string
  readonly email: string
}

// Deliberately loose: only a message that arrives proves an address.
const EMAIL = /^[^\s@<>"(),;:\\]+@[^\s@.<>"(),;:\\]+(\.[^\s@.<>"(),;:\\]+)+$/

export function newContactOf(body: unknown): NewContact {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new BadInput('The body must be a JSON object with name and email.')
  }
  const { name, email } = body as Record<string, unknown>
  if (typeof name !== 'string' || typeof email !== 'string') throw new BadInput('name and email must be strings.')
  const cleanName = name.trim()
  const cleanEmail = email.trim()
  // PostgreSQL text cannot hold NUL, and no name needs the other control characters.
  if (cleanName === '' || cleanName.length > 200 || /[\u0000-\u001f\u007f]/.test(cleanName) || !cleanName.isWellFormed()) {
    throw new BadInput('name must be 1 to 200 characters without control characters.')
  }
  if (cleanEmail.length > 254 || /[\u0000-\u001f\u007f]/.test(cleanEmail) || !cleanEmail.isWellFormed() || !EMAIL.test(cleanEmail)) {
    throw new BadInput('email must be an address such as name@example.org.')
  }
  return { name: cleanName, email: cleanEmail }
}

/** null for what cannot be an id: nothing with it exists. */
export function idOf(text: string): bigint | null {
  if (!/^[1-9]\d{0,18}$/.test(text)) return null
  const id = BigInt(text)
  return id <= 9_223_372_036_854_775_807n ? id : null
}

export interface Credentials {
  readonly email: string
  readonly password: string
}

export function credentialsOf(body: unknown): Credentials {
  if (typeof body !== 'object' || body === null) throw new BadInput('email and password are needed.')
  const { email, password } = body as Record<string, unknown>
  if (typeof email !== 'string' || typeof password !== 'string' || email === '' || password === '') {
    throw new BadInput('email and password are needed.')
  }
  if (email.length > 254 || password.length > 1024 || email.includes('\u0000')) throw new BadInput('email or password is too long or malformed.')
  return { email: email.trim().toLowerCase(), password }
}

export function durationOf(text: string | null, fallback: number, most: number, name: string): number {
  if (text === null) return fallback
  const value = /^\d{1,6}$/.test(text) ? Number(text) : NaN
  if (!(value <= most)) throw new BadInput(`${name} must be a whole number from 0 to ${most}.`)
  return value
}
