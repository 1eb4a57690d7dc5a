import { defineConfig } from 'prisma/config'

// Migrations go past the pooler. Generating the client needs no database, so an
// unset variable is no error here.
export default defineConfig({
  schema: 'prisma/schema.prisma',
  migrations: { path: 'prisma/migrations' },
  datasource: { url: process.env.DATABASE_DIRECT_URL ?? '' },
})
