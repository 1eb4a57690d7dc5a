import { env } from '@/lib/env'
import { answer, json, readBody } from '@/lib/http'
import { newJobOf } from '@/lib/job-kinds'
import { createJob } from '@/lib/jobs'
import { idempotencyKeyOf, tenantOf } from '@/lib/validate'

export const dynamic = 'force-dynamic'

export function POST(request: Request): Promise<Response> {
  return answer(async () => {
    const tenant = tenantOf(request.headers.get('x-tenant-id'))
    const key = idempotencyKeyOf(request.headers.get('idempotency-key'))
    const job = newJobOf((await readBody(request)).value, env().testRoutes)
    const { id, repeated } = await createJob(tenant, job, key)
    return json({ id }, 202, { Location: `/api/jobs/${id}`, ...(repeated && { 'Idempotency-Replayed': 'true' }) })
  })
}
