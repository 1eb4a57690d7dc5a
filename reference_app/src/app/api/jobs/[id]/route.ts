import { answer, json, notFound } from '@/lib/http'
import { findJob } from '@/lib/jobs'
import { idOf, tenantOf } from '@/lib/validate'

export const dynamic = 'force-dynamic'

export function GET(request: Request, context: { params: Promise<{ id: string }> }): Promise<Response> {
  return answer(async () => {
    const tenant = tenantOf(request.headers.get('x-tenant-id'))
    const id = idOf((await context.params).id)
    const job = id === null ? null : await findJob(tenant, id)
    return job === null ? notFound() : json(job)
  })
}
