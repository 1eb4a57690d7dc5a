import type { Metadata } from 'next'
import type { ReactNode } from 'react'
import './style.css'

export const metadata: Metadata = {
  title: 'PayAid reference',
  description: 'A small application that keeps its contract with the platform.',
}

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <header>
          <a className="brand" href="/">
            <span aria-hidden="true" /> PayAid <em>reference</em>
          </a>
          <nav>
            <a href="/dashboard">Dashboard</a>
            <a href="/api/health">Health</a>
          </nav>
        </header>
        <main>{children}</main>
      </body>
    </html>
  )
}
