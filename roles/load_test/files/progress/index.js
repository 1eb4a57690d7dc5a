// Copyright (c) 2026, The payaid.scaling maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A plugin of Artillery: writes what it counts in each slice of ten seconds, because its own report comes at the end only.
'use strict'
const fs = require('node:fs')

class Plugin {
  constructor(script, events) {
    events.on('stats', ({ period, counters, summaries }) => {
      fs.appendFileSync('progress.jsonl', `${JSON.stringify({ period, counters, summaries })}\n`)
    })
  }
}

module.exports = { Plugin, LEGACY_METRICS_FORMAT: false }
