import { json } from '@/lib/http'
import { whoami } from '@/lib/whoami'

export const dynamic = 'force-dynamic'

export function GET(): Response {
  return json(whoami())
}
