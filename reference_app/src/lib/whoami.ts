import os from 'node:os'
import { env } from './env'

export interface Whoami {
  readonly node: string
  readonly process: string
  readonly release: string
}

/** Asked of the system: HOSTNAME in the environment is the address to listen on. */
export function whoami(): Whoami {
  return { node: os.hostname(), process: env().port, release: env().release }
}
