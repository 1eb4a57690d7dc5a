import { createContact, listContacts } from '@/lib/contacts'
import { answer, isSecure, json, readBody, rememberPosition, seenPosition } from '@/lib/http'
import { idempotencyKeyOf, newContactOf, tenantOf } from '@/lib/validate'

export const dynamic = 'force-dynamic'

export function GET(request: Request): Promise<Response> {
  return answer(async () => {
    const tenant = tenantOf(request.headers.get('x-tenant-id'))
    const { value, source } = await listContacts(tenant, await seenPosition())
    return json({ contacts: value, source })
  })
}

export function POST(request: Request): Promise<Response> {
  return answer(async () => {
    const tenant = tenantOf(request.headers.get('x-tenant-id'))
    const key = idempotencyKeyOf(request.headers.get('idempotency-key'))
    const input = newContactOf((await readBody(request)).value)
    const { contact, position, repeated } = await createContact(tenant, input, key)
    await rememberPosition(position, isSecure(request))
    return json(contact, 201, { Location: `/api/contacts/${contact.id}`, ...(repeated && { 'Idempotency-Replayed': 'true' }) })
  })
}
