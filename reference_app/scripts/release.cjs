'use strict'

/**
 * The part of the build that edits the assembled tree:
 *   node scripts/release.cjs STAGE RELEASE
 */
const fs = require('node:fs')
const path = require('node:path')

const [stage, release] = process.argv.slice(2)
const { name, engines } = require('../package.json')
const next = require('next/package.json').version

fs.writeFileSync(path.join(stage, 'release.json'), `${JSON.stringify({ name, release, node: engines.node, next }, null, 2)}\n`)

// The release is the tarball's to name, so it is put in at start.
const server = path.join(stage, 'server.js')
const text = fs.readFileSync(server, 'utf8')
const mark = 'process.env.__NEXT_PRIVATE_STANDALONE_CONFIG ='
if (text.split(mark).length !== 2) throw new Error('server.js of this version of Next does not look as expected')
const inserted = [
  "process.env.RELEASE ||= require('./release.json').release",
  "require('./websocket.cjs')",
  '',
].join('\n')
fs.writeFileSync(server, text.replace(mark, () => inserted + mark))
