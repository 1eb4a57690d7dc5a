import { primary, replica } from './db'
import { env, EnvError } from './env'
import { metrics } from './metrics'
import { watchRequests } from './peer'
import { redis } from './redis'

/** EX_CONFIG of sysexits.h: a supervisor can tell it from a crash, and need not try again. */
const EX_CONFIG = 78

export function start(): void {
  try {
    env()
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
    console.error(error.message)
    process.exit(EX_CONFIG)
  }
  watchRequests()
  metrics()
  // Redis connects now, so that the first request finds it ready. The pools
  // connect on first use: a database that is away must not stop the start.
  redis()
  primary()
  replica()
}
