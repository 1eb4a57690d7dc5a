'use strict'

// What a migration says to the platform, without a database: here it is the role that is tried.

const BEHAVIOUR = 'good'

const pending = BEHAVIOUR === 'takes' ? ['contract: DROP TABLE orders'] : []
console.log(JSON.stringify(process.argv.includes('--status') ? { pending, destructive: pending } : { changed: pending.length > 0 }))
