# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks every source that is given. One that fails says why, and the others are asked all the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login as RedisLogin
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import hostport
from ansible_collections.payaid.scaling.plugins.module_utils._slo import (
    access_log,
    artillery,
    files,
    k6,
    keyspace,
    keyspace_io,
    prometheus,
    statements,
    statements_io,
)
from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import NotMeasured, Reading
from ansible_collections.payaid.scaling.plugins.module_utils._slo.prometheus_io import Client
from ansible_collections.payaid.scaling.plugins.module_utils._slo.targets import Target

Given = Mapping[str, Any]
Read = Callable[[], Reading]


@dataclass
class Counters:
    """What servers have counted since their start, now and before."""

    # None where all since the start is asked for.
    earlier: Mapping[str, Any] | None = None
    now: dict[str, Any] = field(default_factory=dict)

    def before(self, source: str, where: str) -> Mapping[str, Any] | None:
        if self.earlier is None:
            return None
        if source not in self.earlier:
            raise NotMeasured(f"{where}: there are no earlier counters of {source} to take off")
        told: Mapping[str, Any] = self.earlier[source]
        return told


def check(given: Given) -> None:
    """Refuse times that are none, and what merely looks like the counters of an earlier run."""
    if given["interval"] is not None and given["interval"] <= 0:
        raise Refusal(f"interval={given['interval']} is no time: give seconds, or leave it out.")
    if given["nginx_log"] and given["nginx_log"]["minutes"] <= 0:
        raise Refusal(f"nginx_log.minutes={given['nginx_log']['minutes']:g} is no time: give more than 0.")
    told = given["since"] or {}
    redis, servers = told.get("redis", {}), told.get("postgres", {})
    tables = [redis, servers, *(servers.values() if isinstance(servers, dict) else ())]
    if set(told) <= {"redis", "postgres"} and all(isinstance(one, dict) for one in tables):
        pairs = [pair for one in (redis, *servers.values()) for pair in one.values()]
        if all(isinstance(pair, list) and len(pair) == 2 and all(map(_counts, pair)) for pair in pairs):
            return
    raise Refusal("since is not the counters that an earlier run of slo_check has returned.")


def _counts(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def gather(given: Given, targets: Sequence[Target]) -> tuple[tuple[Reading, ...], Mapping[str, Any]]:
    """Return what the given sources say, and what has been counted so far."""
    counters = Counters(given["since"])
    if given["interval"]:
        before = Counters()
        for source, read in _counting(given, before):
            _asked(source, read)
        time.sleep(given["interval"])
        counters.earlier = before.now
    readers = [*_reporting(given, targets), *_counting(given, counters)]
    return tuple(_asked(source, read) for source, read in readers), counters.now


def _asked(source: str, read: Read) -> Reading:
    try:
        return read()
    except NotMeasured as why:
        return Reading(source, "", problem=str(why))


def _reporting(given: Given, targets: Sequence[Target]) -> list[tuple[str, Read]]:
    readers: list[tuple[str, Read]] = []
    if reports := given["artillery_reports"]:
        readers.append(("artillery", lambda: artillery.read({path: files.report(path) for path in reports})))
    if summary := given["k6_summary"]:
        readers.append(("k6", lambda: k6.read(summary, files.report(summary))))
    if log := given["nginx_log"]:
        readers.append(("nginx", lambda: _read_log(log)))
    if server := given["prometheus"]:
        readers.append(("prometheus", lambda: _ask_prometheus(server, targets)))
    return readers


def _counting(given: Given, counters: Counters) -> list[tuple[str, Read]]:
    readers: list[tuple[str, Read]] = []
    if database := given["postgres"]:
        readers.append(("postgres", lambda: _ask_postgres(database, counters)))
    if redis := given["redis"]:
        readers.append(("redis", lambda: _ask_redis(redis, counters)))
    return readers


def _read_log(log: Given) -> Reading:
    tally = access_log.Tally(time.time() - log["minutes"] * 60, log["path_prefix"])
    for path in log["paths"]:
        tally.add(path, files.lines_from_end(path))
    return access_log.reading(log["paths"], tally, log["minutes"])


def _ask_prometheus(server: Given, targets: Sequence[Target]) -> Reading:
    asked = prometheus.questions(targets, server["window"], server["availability_window"])
    client = Client(
        server["url"], server["login_user"], server["login_password"], server["ca_certs"], server["timeout"]
    )
    return prometheus.read(server["url"], asked, client.ask)


def _ask_postgres(given: Given, counters: Counters) -> Reading:
    servers = [statements_io.Server(one["host"], one["port"]) for one in given["servers"]]
    found = statements_io.ask(servers, statements_io.Login.wanted(given))
    counters.now["postgres"] = statements.counters(found)
    where = ", ".join(server.name for server in servers)
    before = counters.before("postgres", where)
    return statements.reading(where, found if before is None else statements.since(found, before))


def _ask_redis(given: Given, counters: Counters) -> Reading:
    places = [(one["host"], one["port"]) for one in given["nodes"]]
    found = keyspace_io.ask(places, RedisLogin.wanted(given))
    counters.now["redis"] = keyspace.counters(found)
    where = ", ".join(hostport(*place) for place in places)
    return keyspace.reading(where, found, counters.before("redis", where))
