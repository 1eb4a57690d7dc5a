#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: slo_check
short_description: Hold performance targets against what was measured
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Reads reports of load tests, the access log of nginx, Prometheus, C(pg_stat_statements) and Redis, and
    says for each target its value, whether it is met, and where it was measured.
  - It changes nothing. It fails with one sentence that names every target that is missed, so that it can
    stand as a gate in a playbook.
  - A target that no source measures is not met. Unless O(unmeasured=report), the module fails then too, and
    when a source that is given cannot be read.
  - Where several sources measure the same, the first one decides and the others are told beside it. For
    response times, the error rate and users that is Artillery, then k6, then nginx, then Prometheus, because
    only the client knows of what never arrived. For availability Prometheus comes first. For query times it
    is PostgreSQL, then Prometheus; for the hit rate it is Redis, then Prometheus.
requirements:
  - python3-psycopg 3.1 or later on the host that runs the module, for O(postgres)
  - redis-py 4.3.4 or newer there (C(python3-redis) on Debian), for O(redis)
notes:
  - Each source is read where the module runs. See C(docs/slo.md) of the collection for what each target
    measures.
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.reads
options:
  targets:
    description:
      - What differs from the default targets, by their names. A number is another bound, V(false) leaves the
        target out, a dictionary sets single fields of it, and a new name makes a new target.
      - The fields are C(metric), C(comparison), which is one of V(<), V(<=), V(>) and V(>=), C(bound),
        C(unit), C(source) and C(query).
      - The defaults are the targets of the blueprint. V(api_response_time_p95) is C(latency_p95) below 200
        ms, V(database_query_time) is C(query_time_mean) below 50 ms, V(cache_hit_rate) is C(cache_hit_rate)
        above 70 %, V(error_rate) is C(error_rate) below 0.1 %, V(availability) is C(availability) of 99.9 %
        or more, and V(concurrent_users) is C(concurrent_users) of 10000 or more.
      - The metrics are V(latency_mean), V(latency_p50), V(latency_p90), V(latency_p95), V(latency_p99),
        V(latency_max), V(query_time_mean), V(query_time_worst), V(query_time_p95) and V(query_time_p99) in
        ms, V(error_rate), V(availability) and V(cache_hit_rate) in %, and V(concurrent_users) in users. A new
        target without a C(metric) takes its name for one.
      - C(unit) may be V(ms) or V(s) for times, and V(%) or V(ratio) for shares. It is what the bound is given
        in and the value returned in.
      - C(source) takes the value from this source only, one of V(artillery), V(k6), V(nginx), V(prometheus),
        V(postgres) and V(redis).
      - C(query) is what to ask Prometheus for this target, in PromQL and in the unit of the target. The
        answer must be a scalar or one series. C(WINDOW) and C(LONG_WINDOW) in it stand for
        O(prometheus.window) and O(prometheus.availability_window). With it, metric and unit may be anything.
    type: dict
    default: {}
  artillery_reports:
    description:
      - Reports of Artillery 2, as C(artillery run --output) writes them, one for each load generator.
      - Requests, errors and users are added up. Percentiles cannot be; the highest is taken, which that of
        all requests never exceeds.
      - Its response time is the time to the first byte, without connecting and TLS. Failed is what answered
        5xx, and every error that Artillery counts, such as a timeout or a failed capture.
    type: list
    elements: path
  k6_summary:
    description:
      - Summary of k6, as C(k6 run --summary-export) writes it, or what C(handleSummary) is given as JSON, or
        the machine-readable one of k6 1.5 and later.
      - What failed is what the script says, and unless it sets a response callback that is every 4xx too,
        V(429) among them.
      - k6 tells only the percentiles that C(summaryTrendStats) of the script names. V(p(95\)) is among them
        if it names none.
    type: path
  nginx_log:
    description:
      - Access log as the role C(nginx) of this collection has it written. It is read from its end.
      - Failed is what answered 5xx. V(429) counts neither as an answer nor as an error; how many there were
        is in the evidence.
    type: dict
    suboptions:
      paths:
        description: The files. Those of several load balancers are counted as one.
        type: list
        elements: path
        default: [/var/log/nginx/access.log]
      minutes:
        description: How far back to read, in minutes.
        type: float
        default: 5
      path_prefix:
        description:
          - What the path of a request has to begin with to be counted. Static files, which are quick, would
            make everything look quicker than it is. Empty for all requests.
        type: str
        default: /api/
  prometheus:
    description:
      - A server with the HTTP API of Prometheus.
      - Unless a target has a C(query), the histograms C(http_request_duration_seconds) and
        C(app_database_query_duration_seconds) of the app are asked for response and query times and for the
        error rate, C(probe_success) for the availability, and C(redis_keyspace_hits_total) and
        C(redis_keyspace_misses_total) for the hit rate.
    type: dict
    suboptions:
      url:
        description: Its address, such as C(http://192.0.2.50:9090).
        type: str
        required: true
      window:
        description: Time that the default queries look back, as a duration of PromQL.
        type: str
        default: 5m
      availability_window:
        description: Time that the default query for the availability looks back, as a duration of PromQL.
        type: str
        default: 30d
      login_user:
        description: User for HTTP basic authentication.
        type: str
      login_password:
        description: Password of O(prometheus.login_user).
        type: str
      ca_certs:
        description: File with the certificates to trust. Those of the system when not given.
        type: path
      timeout:
        description: How long an answer may take, in seconds.
        type: int
        default: 10
  postgres:
    description:
      - Servers whose extension C(pg_stat_statements) is read. It keeps sums and no distribution, so it tells
        the mean of all calls and the mean of each statement, and no percentile.
      - Counted are statements of this database that read or write rows. Time to plan, and to wait for a
        connection, is not in it.
    type: dict
    suboptions:
      servers:
        description: The primary, and every replica that is read from. Each counts what it runs itself.
        type: list
        elements: dict
        required: true
        suboptions:
          host:
            description: Name or address, or the directory of the socket.
            type: str
            required: true
          port:
            description: Port, not that of a pooler.
            type: int
            default: 5432
      database:
        description: Database of the app. The extension has to be there.
        type: str
        required: true
      login_user:
        description: Role to log in as, a member of C(pg_read_all_stats).
        type: str
        required: true
      login_password:
        description: Password of O(postgres.login_user).
        type: str
      sslmode:
        description: How connections are protected, as in libpq.
        type: str
        choices: [prefer, require, verify-ca, verify-full]
        default: prefer
      sslrootcert:
        description: >-
          File with the authority of the servers' certificates, for O(postgres.sslmode=verify-ca) and
          V(verify-full).
        type: path
      roles:
        description: Roles whose statements count, such as that of the app. Those of all when empty.
        type: list
        elements: str
        default: []
  redis:
    description:
      - Servers whose C(keyspace_hits) and C(keyspace_misses) are summed over all masters.
      - Of a cluster one node is enough, the others are found. No master may be silent. Else list all servers.
    type: dict
    suboptions:
      nodes:
        description: The servers.
        type: list
        elements: dict
        required: true
        suboptions:
          host:
            description: Name or address.
            type: str
            required: true
          port:
            description: Port for clients.
            type: int
            default: 6379
      login_user:
        description: ACL user to log in as, on every node. The default user when only O(redis.login_password)
          is given.
        type: str
      login_password:
        description: Password to log in with, the same on every node.
        type: str
      tls:
        description: Whether to connect with TLS.
        type: bool
        default: false
      ca_certs:
        description: File with the certificates to trust. Those of the system when not given.
        type: path
      client_cert:
        description: File with the certificate to show, where nodes ask for one. Requires O(redis.client_key).
        type: path
      client_key:
        description: File with the private key of O(redis.client_cert).
        type: path
  since:
    description:
      - RV(counters) of an earlier run. What PostgreSQL and Redis counted until then is taken off, so that
        what is left is of the time between, such as a load test.
      - Without it and O(interval), they tell of all since their counters were reset.
    type: dict
  interval:
    description:
      - Ask PostgreSQL and Redis twice, so many seconds apart, and take the difference.
      - The other sources are read after that. Not together with O(since).
    type: int
  fail:
    description: Whether the module fails when a target is missed. With V(false) it only returns what it
      found.
    type: bool
    default: true
  unmeasured:
    description:
      - With V(fail), a target that was not measured fails as one that is missed, and so does a source that is
        given and cannot be read. With V(report) they are only returned, and warned of.
      - Without effect when O(fail=false).
    type: str
    choices: [fail, report]
    default: fail
"""

EXAMPLES = r"""
- name: Hold the targets of the blueprint against a load test
  payaid.scaling.slo_check:
    artillery_reports: [/var/tmp/load-test.json]
    postgres:
      servers: [{host: 10.0.0.11}, {host: 10.0.0.12}]
      database: app
      login_user: monitor
      login_password: "{{ vault_monitor_password }}"
    redis:
      nodes: [{host: 10.0.0.31}]
      login_password: "{{ vault_redis_password }}"

- name: Note what was counted before a load test
  payaid.scaling.slo_check:
    redis: "{{ redis_servers }}"
    fail: false
  register: before

- name: See what only the load test has brought about, with targets of one's own
  payaid.scaling.slo_check:
    k6_summary: /var/tmp/summary.json
    redis: "{{ redis_servers }}"
    since: "{{ before.counters }}"
    targets:
      api_response_time_p95: 300
      concurrent_users: 2000
      database_query_time: false
      api_response_time_p99: {metric: latency_p99, comparison: "<", bound: 0.5, unit: s}

- name: Look at the last ten minutes on a load balancer, and only tell
  payaid.scaling.slo_check:
    nginx_log:
      minutes: 10
    fail: false
  register: slo

- name: Ask Prometheus, with a target of one's own
  payaid.scaling.slo_check:
    prometheus:
      url: http://192.0.2.50:9090
    targets:
      concurrent_users: false
      replica_lag: {query: "max(pg_standby_lag_seconds)", comparison: "<", bound: 5, unit: s}
"""

RETURN = r"""
results:
  description: The targets.
  returned: success, and failure because of a target
  type: list
  elements: dict
  contains: &result
    name: {description: Name of the target., type: str}
    metric: {description: What was measured., type: str, sample: latency_p95}
    target: {description: What is wanted., type: str, sample: < 200 ms}
    measured: {description: Whether a source told., type: bool}
    value: {description: "The value, in RV(results[].unit); none where it was not measured.", type: float,
      sample: 183.1}
    unit: {description: Unit of the value and of the bound., type: str, sample: ms}
    pass: {description: Whether the target is met. V(false) where it was not measured., type: bool}
    source: {description: Where it was measured., type: str, sample: artillery (/var/tmp/load-test.json)}
    evidence:
      description:
        - What the value was made of. Of reports and logs, how many requests there were, by code and error.
        - Of PostgreSQL, the number of calls, and in C(worst) the five statements with the highest mean.
        - Of Redis, hits, misses and masters. Those in C(counted_since_start) had no earlier counter to take
          off. Of Prometheus, the query.
      type: dict
      sample: {requests: 84000, limited: 0, codes: {"200": 83990, "502": 10}, errors: {}}
    others:
      description: What other sources say of it, each with its C(source) and C(value).
      type: list
      elements: dict
    reason: {description: Why it was not measured; else empty., type: str}
passed:
  description: Whether all targets were measured and are met, and all sources could be read.
  returned: success, and failure because of a target
  type: bool
missed:
  description: Names of the targets that were measured and are not met.
  returned: success, and failure because of a target
  type: list
  elements: str
unmeasured:
  description: Names of the targets that were not measured.
  returned: success, and failure because of a target
  type: list
  elements: str
problems:
  description: Why sources that were given told nothing at all.
  returned: success, and failure because of a target
  type: list
  elements: str
  sample: ["/var/tmp/load-test.json: the file is empty, so the run that was to write it has not ended"]
table:
  description: The results as a table of text.
  returned: success, and failure because of a target
  type: str
counters:
  description:
    - What PostgreSQL and Redis have counted so far, for O(since) of a later run.
    - Of Redis, for each process hits and misses; of PostgreSQL, for each server and statement calls and
      milliseconds.
  returned: success, and failure because of a target
  type: dict
"""

from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.cluster import TLS_ARGUMENTS
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import LOGIN_ARGUMENTS, LOGIN_RULES
from ansible_collections.payaid.scaling.plugins.module_utils._slo.gather import check, gather
from ansible_collections.payaid.scaling.plugins.module_utils._slo.judge import (
    failure,
    judge,
    silences,
    summary,
)
from ansible_collections.payaid.scaling.plugins.module_utils._slo.targets import wanted

NGINX = {
    "paths": {"type": "list", "elements": "path", "default": ["/var/log/nginx/access.log"]},
    "minutes": {"type": "float", "default": 5},
    "path_prefix": {"type": "str", "default": "/api/"},
}
PROMETHEUS = {
    "url": {"type": "str", "required": True},
    "window": {"type": "str", "default": "5m"},
    "availability_window": {"type": "str", "default": "30d"},
    "login_user": {"type": "str"},
    "login_password": {"type": "str", "no_log": True},
    "ca_certs": {"type": "path"},
    "timeout": {"type": "int", "default": 10},
}
SERVER = {"host": {"type": "str", "required": True}, "port": {"type": "int", "default": 5432}}
POSTGRES = {
    "servers": {"type": "list", "elements": "dict", "required": True, "options": SERVER},
    "database": {"type": "str", "required": True},
    "login_user": {"type": "str", "required": True},
    "login_password": {"type": "str", "no_log": True},
    **TLS_ARGUMENTS,
    "roles": {"type": "list", "elements": "str", "default": []},
}
NODE = {"host": {"type": "str", "required": True}, "port": {"type": "int", "default": 6379}}
REDIS = {
    "nodes": {"type": "list", "elements": "dict", "required": True, "options": NODE},
    **LOGIN_ARGUMENTS,
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "targets": {"type": "dict", "default": {}},
    "artillery_reports": {"type": "list", "elements": "path"},
    "k6_summary": {"type": "path"},
    "nginx_log": {"type": "dict", "options": NGINX},
    "prometheus": {
        "type": "dict",
        "options": PROMETHEUS,
        "required_by": {"login_password": "login_user"},
    },
    "postgres": {"type": "dict", "options": POSTGRES},
    "redis": {"type": "dict", "options": REDIS, **LOGIN_RULES},
    "since": {"type": "dict"},
    "interval": {"type": "int"},
    "fail": {"type": "bool", "default": True},
    "unmeasured": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
}
SOURCES = ("artillery_reports", "k6_summary", "nginx_log", "prometheus", "postgres", "redis")


def main() -> None:
    module = begin(ARGUMENTS, required_one_of=[SOURCES], mutually_exclusive=[("since", "interval")])
    given: dict[str, Any] = module.params
    with refusing(module):
        targets = wanted(given["targets"])
        check(given)
        readings, counters = gather(given, targets)
    results = judge(targets, readings)
    told = {**summary(results, readings), "counters": counters}
    sentence = failure(results, told["problems"], unmeasured_fails=given["unmeasured"] == "fail")
    if sentence and given["fail"]:
        module.fail_json(msg=sentence, changed=False, **told)
    for warning in silences(results, told["problems"]) if given["fail"] else ():
        module.warn(f"{warning}.")
    module.exit_json(changed=False, **told)


if __name__ == "__main__":
    main()
