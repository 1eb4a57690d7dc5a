import { connection } from 'next/server'
import { whoami } from '@/lib/whoami'

export default async function Home() {
  // Rendered for each request: the page says which process answered this one.
  await connection()
  const { node, process, release } = whoami()
  return (
    <>
      <h1>One page, any node.</h1>
      <p className="lead">Reload it: behind the balancer another process may answer, and nothing else changes.</p>
      <dl className="facts">
        <div>
          <dt>Node</dt>
          <dd>{node}</dd>
        </div>
        <div>
          <dt>Process</dt>
          <dd>{process}</dd>
        </div>
        <div>
          <dt>Release</dt>
          <dd>{release}</dd>
        </div>
      </dl>
      <h2>What it answers</h2>
      <ul className="routes">
        <li><a href="/api/contacts">/api/contacts</a> the newest contacts, and where they were read</li>
        <li><a href="/api/dashboard/stats">/api/dashboard/stats</a> a cached aggregate</li>
        <li><a href="/api/health">/api/health</a> database, Redis and Ollama</li>
        <li><a href="/api/whoami">/api/whoami</a> node, process and release</li>
        <li><a href="/api/me">/api/me</a> who is signed in, on every node alike</li>
      </ul>
    </>
  )
}
