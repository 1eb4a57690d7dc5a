import { cookies } from 'next/headers'
import { redirect } from 'next/navigation'
import { dashboardStats, listContacts } from '@/lib/contacts'
import { DatabaseUnavailable } from '@/lib/db'
import { env } from '@/lib/env'
import { seenPosition } from '@/lib/http'
import { readToken, SESSION_COOKIE } from '@/lib/session'
import { DEFAULT_TENANT } from '@/lib/validate'
import { whoami } from '@/lib/whoami'

async function load() {
  const seen = await seenPosition()
  try {
    return await Promise.all([dashboardStats(DEFAULT_TENANT, seen), listContacts(DEFAULT_TENANT, seen)])
  } catch (error) {
    if (error instanceof DatabaseUnavailable) return null
    throw error
  }
}

export default async function Dashboard() {
  const email = await readToken((await cookies()).get(SESSION_COOKIE)?.value, env().jwtSecret)
  if (email === null) redirect('/login')
  const loaded = await load()
  const { node, process } = whoami()
  return (
    <>
      <h1>Dashboard</h1>
      <p className="lead">
        Signed in as <strong>{email}</strong>, answered by {node}, process {process}.
      </p>
      {loaded === null ? (
        <p className="error" role="alert">The database does not answer at the moment. Reload in a few seconds.</p>
      ) : (
        <>
          <dl className="facts">
            <div>
              <dt>Contacts</dt>
              <dd>{loaded[0].value.contacts}</dd>
            </div>
            <div>
              <dt>Added in 24 hours</dt>
              <dd>{loaded[0].value.added_last_24h}</dd>
            </div>
            <div>
              <dt>Read from</dt>
              <dd>{loaded[1].source}</dd>
            </div>
          </dl>
          <table>
            <thead>
              <tr>
                <th>Name</th>
                <th>Email</th>
                <th>Added</th>
              </tr>
            </thead>
            <tbody>
              {loaded[1].value.slice(0, 10).map((contact) => (
                <tr key={contact.id}>
                  <td>{contact.name}</td>
                  <td>{contact.email}</td>
                  <td>{contact.created_at.slice(0, 16).replace('T', ' ')} UTC</td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
      <form method="post" action="/api/logout">
        <button className="quiet">Sign out</button>
      </form>
    </>
  )
}
