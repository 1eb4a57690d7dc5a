import { randomUUID } from 'node:crypto'
import { Cluster, type Redis } from 'ioredis'
import { complain } from './shared'

const EVERY_MS = 1000
/** One late answer is a busy server or a busy process; a second one in a row is a connection that is stuck. */
const LATE_LIMIT = 2

/** The little of a connection that is needed here. */
export interface Line {
  readonly status: string
  ping(message: string): Promise<string>
  disconnect(): void
}

/**
 * Redis answers in the order in which it is asked, and says to nobody what an
 * answer belongs to. A connection that has lost count gives everybody the
 * answer to somebody else's question, and does so for as long as it stands
 * (seen with ioredis 6.0.0 after minutes of overload). So each is asked for a
 * word of its own, and is closed when it says another one, or nothing.
 */
export class Watch {
  private readonly late = new WeakMap<Line, number>()

  constructor(private readonly lines: () => readonly Line[]) {}

  async look(): Promise<void> {
    await Promise.all(this.lines().map((line) => this.ask(line)))
  }

  private async ask(line: Line): Promise<void> {
    if (line.status !== 'ready') return
    const word = randomUUID()
    let said: string
    try {
      said = await line.ping(word)
    } catch {
      const late = (this.late.get(line) ?? 0) + 1
      this.late.set(line, late)
      if (late >= LATE_LIMIT) this.close(line, `did not answer ${late} times in a row`)
      return
    }
    this.late.delete(line)
    if (said !== word) this.close(line, 'gave the answer to another question')
  }

  private close(line: Line, why: string): void {
    this.late.delete(line)
    complain('redis watch', new Error(`a connection ${why}: it is closed, and another one is made`))
    line.disconnect()
  }
}

/** A single Redis connects again by itself only where it was not told to go. */
function lineOf(redis: Redis, again: boolean): Line {
  return {
    get status() {
      return redis.status
    },
    ping: (message) => redis.ping(message),
    disconnect: () => redis.disconnect(again),
  }
}

/** Looks at all connections of a client, every second, for as long as the process lives. */
export function watch(client: Redis | Cluster): void {
  const known = new WeakMap<Redis, Line>()
  const line = (redis: Redis) => {
    const found = known.get(redis) ?? lineOf(redis, !(client instanceof Cluster))
    known.set(redis, found)
    return found
  }
  const lines = () => (client instanceof Cluster ? client.nodes('all') : [client]).map(line)
  const watched = new Watch(lines)
  setInterval(() => void watched.look(), EVERY_MS).unref()
}
