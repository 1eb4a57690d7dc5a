/**
 * A position in PostgreSQL's write-ahead log as a number. PostgreSQL writes it
 * as two hexadecimal halves; as a number it can be compared, and Redis can keep
 * the larger of two. Numbers are exact to 2^53, which is eight petabytes of WAL.
 */
export function parseLsn(text: string | null | undefined): number | null {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text ?? '')
  if (!match) return null
  const value = parseInt(match[1]!, 16) * 2 ** 32 + parseInt(match[2]!, 16)
  return Number.isSafeInteger(value) ? value : null
}

export function formatLsn(value: number): string {
  const high = Math.floor(value / 2 ** 32)
  return `${high.toString(16).toUpperCase()}/${(value % 2 ** 32).toString(16).toUpperCase()}`
}

export function laterOf(a: number | null, b: number | null): number | null {
  if (a === null) return b
  return b === null ? a : Math.max(a, b)
}

/** The position nothing reaches: whoever needs it reads from the primary. */
export const UNREACHABLE = Number.MAX_SAFE_INTEGER
