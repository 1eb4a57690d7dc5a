const POLL_MS = 25
/** How long to wait for a close that has nothing to do any more, such as one that wants to tell a Redis that is away. */
const IDLE_MS = 2000

/**
 * Waits until the queue is closed, or has had nothing under way for a while; how
 * many are still under way after the time allowed. The while matters: a job that
 * Redis had already handed over when the stop began may be a moment in coming.
 */
export async function settle(underWay: () => number, closing: Promise<unknown>, timeoutMs: number, idleMs = IDLE_MS): Promise<number> {
  const end = Date.now() + timeoutMs
  let closed = false
  void closing.catch(() => undefined).then(() => (closed = true))
  let busy = Date.now()
  for (;;) {
    const now = Date.now()
    if (underWay() > 0) busy = now
    else if (closed || now - busy >= idleMs) return 0
    if (now >= end) return underWay()
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
