/**
 * One value a process. Next compiles each route on its own, so a module's own
 * variables may exist several times; pools and counters must not.
 */
export function single<T>(name: string, make: () => T): T {
  const store = globalThis as unknown as Record<symbol, T | undefined>
  const key = Symbol.for(`payaid.${name}`)
  return (store[key] ??= make())
}

/** What drain.cjs calls, by this same name, once the last request is answered. */
export function closeAtExit(close: () => Promise<unknown>): void {
  single<Array<() => Promise<unknown>>>('closers', () => []).push(close)
}

export class TimeoutError extends Error {}

/** Settles with the promise, or rejects after `ms`, whichever comes first. */
export function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TimeoutError(`${what} took longer than ${ms} ms`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** Logs at most one line a second per topic: an outage must not fill the disk. */
export function complain(topic: string, error: unknown): void {
  const last = single('complaints', () => new Map<string, number>())
  const now = Date.now()
  if (now - (last.get(topic) ?? 0) < 1000) return
  last.set(topic, now)
  console.error(`${topic}: ${reason(error)}`)
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // A refused connection to several addresses hides its reasons in `errors`.
  const text = error.message || (error as NodeJS.ErrnoException).code || error.name
  return text.replace(/\s+/g, ' ').trim()
}
