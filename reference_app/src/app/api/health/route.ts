import { health } from '@/lib/health'
import { json } from '@/lib/http'

export const dynamic = 'force-dynamic'

export async function GET(): Promise<Response> {
  const result = await health()
  return json(result, result.status === 'healthy' ? 200 : 503)
}
