'use strict'

/**
 * The part of the build that makes the worker one file, with nothing beside it:
 *   node scripts/worker.cjs STAGE
 */
const path = require('node:path')
const { buildSync } = require('esbuild')

const [stage] = process.argv.slice(2)

buildSync({
  absWorkingDir: path.dirname(__dirname),
  entryPoints: ['src/worker/main.ts'],
  outfile: path.join(stage, 'worker.js'),
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  // Optional parts of what is bundled, none of which is used: other drivers, a native decoder.
  external: ['pg-native', 'pg-cloudflare', '@valkey/valkey-glide', '@node-rs/crc32', 'msgpackr-extract'],
  // As in server.js: without RELEASE it is the tarball's.
  banner: { js: "process.env.RELEASE ||= require('./release.json').release" },
  legalComments: 'inline',
  logLevel: 'warning',
})
