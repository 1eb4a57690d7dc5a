// Copyright (c) 2026, The payaid.scaling maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// People who have the app open: each stays connected, and asks now and then.
import http from 'k6/http'
import { sleep } from 'k6'
import { Counter } from 'k6/metrics'

const given = JSON.parse(open('./settings.json'))
const limited = new Counter('limited')

export const options = {
  scenarios: {
    people: {
      executor: 'ramping-vus',
      startVUs: 0,
      stages: [
        { duration: `${given.ramp}s`, target: given.users },
        { duration: `${given.hold}s`, target: given.users },
      ],
      gracefulRampDown: '10s',
      gracefulStop: '10s',
    },
  },
  summaryTrendStats: ['avg', 'med', 'p(90)', 'p(95)', 'p(99)', 'max'],
  discardResponseBodies: true,
}

export default function () {
  const path = given.paths[__ITER % given.paths.length]
  const answer = http.get(given.target + path, { headers: given.headers, tags: { name: path }, timeout: '10s' })
  if (answer.status === 429) limited.add(1)
  // Half as long to one and a half times as long, so that they do not all ask at once.
  sleep(given.think_time * (0.5 + Math.random()))
}

export function handleSummary(data) {
  return { 'report.json': JSON.stringify(data) }
}
