import { answer, json } from '@/lib/http'
import { listMessages } from '@/lib/jobs'
import { idOf, tenantOf } from '@/lib/validate'

export const dynamic = 'force-dynamic'

export function GET(request: Request, context: { params: Promise<{ id: string }> }): Promise<Response> {
  return answer(async () => {
    const tenant = tenantOf(request.headers.get('x-tenant-id'))
    const contact = idOf((await context.params).id)
    return json(contact === null ? { count: 0, messages: [] } : await listMessages(tenant, contact))
  })
}
