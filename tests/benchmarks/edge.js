// Clients that stay connected and ask now and then, as people do who have a page open. Run by edge.py.
import http from 'k6/http'
import { sleep } from 'k6'
import { Counter, Trend } from 'k6/metrics'

const clients = Number(__ENV.CLIENTS)
const think = Number(__ENV.THINK) // s between two requests of one client
const steady = new Trend('steady', true)
const failed = new Counter('failed')

export const options = {
  scenarios: {
    people: {
      executor: 'ramping-vus',
      startVUs: 0,
      stages: [
        { duration: `${__ENV.RAMP}s`, target: clients },
        { duration: `${__ENV.HOLD}s`, target: clients },
      ],
      gracefulStop: '10s',
    },
  },
  insecureSkipTLSVerify: true, // what is measured is time; the lab's certificate is signed by itself
  summaryTrendStats: ['count', 'med', 'p(95)', 'p(99)', 'max'],
  discardResponseBodies: true,
}

export function setup() {
  return { held: Date.now() + Number(__ENV.RAMP) * 1000 }
}

export default function (given) {
  const answer = http.get(`${__ENV.TARGET}/api/contacts`, { headers: { 'X-Tenant-ID': 'benchmark' } })
  if (answer.status !== 200) failed.add(1)
  // Only once all are connected.
  if (Date.now() > given.held) steady.add(answer.timings.duration)
  sleep(think * (0.5 + Math.random()))
}

export function handleSummary(data) {
  const values = Object.fromEntries(Object.entries(data.metrics).map(([name, metric]) => [name, metric.values]))
  return { [__ENV.SUMMARY]: JSON.stringify(values) }
}
