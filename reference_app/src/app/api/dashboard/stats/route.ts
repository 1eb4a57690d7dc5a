import { dashboardStats } from '@/lib/contacts'
import { answer, json, seenPosition } from '@/lib/http'
import { tenantOf } from '@/lib/validate'

export const dynamic = 'force-dynamic'

export function GET(request: Request): Promise<Response> {
  return answer(async () => {
    const tenant = tenantOf(request.headers.get('x-tenant-id'))
    const { value, source } = await dashboardStats(tenant, await seenPosition())
    return json({ ...value, source })
  })
}
