import { findContact } from '@/lib/contacts'
import { answer, json, notFound, seenPosition } from '@/lib/http'
import { idOf, tenantOf } from '@/lib/validate'

export const dynamic = 'force-dynamic'

export function GET(request: Request, context: { params: Promise<{ id: string }> }): Promise<Response> {
  return answer(async () => {
    const tenant = tenantOf(request.headers.get('x-tenant-id'))
    const id = idOf((await context.params).id)
    const contact = id === null ? null : await findContact(tenant, id, await seenPosition())
    return contact === null ? notFound() : json(contact)
  })
}
