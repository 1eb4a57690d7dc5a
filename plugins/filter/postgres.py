# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who takes writes and who follows, by what the database servers say themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Info = Mapping[str, Any]


def postgres_topology(infos: Mapping[str, Info | None], first: str) -> dict[str, Any]:
    """Return the writer, its followers, and why there is no writer if there is none.

    What the machines say goes before the inventory, which only says who begins where there are no data yet.
    """
    known = {host: info for host, info in infos.items() if info and "role" in info}
    primaries = _with_role(known, "primary")
    newest = max((int(known[host].get("timeline") or 0) for host in known), default=0)
    writers = [host for host in primaries if int(known[host].get("timeline") or 0) == newest]
    if len(writers) > 1:
        return _none(f"{' and '.join(writers)} take writes on one timeline (split brain): stop one of them.")
    if writers:
        return _writer(writers[0], infos)
    if primaries:
        return _none(
            f"{primaries[0]} takes writes, but another server is on a later timeline: run failover.yml."
        )
    if all(info["role"] == "absent" for info in known.values()):
        return _writer(first, infos)
    stopped = [
        host
        for host in _with_role(known, "stopped_primary")
        if int(known[host].get("timeline") or 0) == newest
    ]
    if len(stopped) == 1 and not _with_role(known, "starting"):
        return _writer(stopped[0], infos)
    states = ", ".join(f"{host} is {info['role']}" for host, info in known.items())
    return _none(f"No database server takes writes ({states}): run failover.yml, or start the primary.")


def postgres_most_advanced(infos: Mapping[str, Info | None], candidates: Sequence[str]) -> str:
    """Return the running standby that has most of the WAL; an empty string if there is none."""
    standbys = [host for host in candidates if (infos.get(host) or {}).get("role") == "standby"]
    # Of those that have the same, the one that has to replay least takes writes first.
    return max(
        standbys, key=lambda host: (_position(infos[host] or {}), _replayed(infos[host] or {})), default=""
    )


def postgres_failover(
    infos: Mapping[str, Info | None],
    silent: Sequence[str],
    fenced: Sequence[str],
    given_up: str,
    chosen: str,
    synchronous: int = 0,
) -> dict[str, Any]:
    """Return whom to fence, whom to promote, who then follows, and what is in the way if anything is.

    synchronous is how many replicas a commit waits for.
    """
    known = {host: info for host, info in infos.items() if info and "role" in info and host not in silent}
    if unknown := [host for host in [*fenced, given_up, chosen] if host and host not in infos]:
        return _refused(f"{unknown[0]} is no database server of this inventory.")
    if answering := [host for host in fenced if host not in silent]:
        return _refused(
            f"failover_fenced names {answering[0]}, which answers: power it off, or give it up with "
            f"failover_from={answering[0]}."
        )
    if open_ends := [host for host in silent if host not in fenced]:
        return _refused(
            f"{open_ends[0]} does not answer, and may still take writes: power it off, and say so with "
            f"failover_fenced={','.join(silent)}."
        )
    primaries = [*_with_role(known, "primary"), *_with_role(known, "starting")]
    if alive := [host for host in primaries if host != given_up]:
        return _refused(
            f"{alive[0]} is {known[alive[0]]['role']}: while it works, switchover.yml is the way; to give it "
            f"up, say failover_from={alive[0]}."
        )
    candidates = [host for host in known if host != given_up]
    writer = chosen or postgres_most_advanced(known, candidates)
    if not writer:
        return _refused("No standby runs: start one, or restore a backup.")
    if (known.get(writer) or {}).get("role") != "standby":
        return _refused(f"{writer} is no standby that runs: choose another.")
    best = postgres_most_advanced(known, candidates)
    if _position(known[best]) > _position(known[writer]):
        return _refused(f"{best} has WAL that {writer} has not: promote {best}, or it would be lost.")
    fence = [host for host in _with_role(known, "stopped_primary") if host != given_up]
    followers = [host for host in _with_role(known, "standby") if host not in (writer, given_up)]
    if broken := _broken_promise(len(infos), [writer, *followers], int(synchronous)):
        return _refused(broken)
    return {
        "fence": [*fence, *([given_up] if given_up in known else [])],
        "writer": writer,
        "followers": followers,
        "problem": "",
    }


def _broken_promise(hosts: int, left: Sequence[str], synchronous: int) -> str:
    """Say what would become of commits that wait for replicas, where not enough of these are left.

    A commit was confirmed by so many of all the replicas; one of these must be among those that are left.
    """
    may_miss = synchronous and len(left) <= hosts - 1 - synchronous
    would_wait = len(left) - 1 < synchronous
    if not (may_miss or would_wait):
        return ""
    wrong = ["commits would wait for replicas that are not there"] if would_wait else []
    wrong += ["what a replica that is missing has confirmed could be lost"] if may_miss else []
    return (
        f"postgres_server_synchronous_standbys={synchronous}, and what is left of the replicas is "
        f"{' and '.join(left)}: {', and '.join(wrong)}, so start another one first, or give that promise "
        "up by postgres_server_synchronous_standbys=0."
    )


def _refused(problem: str) -> dict[str, Any]:
    return {"fence": [], "writer": "", "followers": [], "problem": problem}


def _position(info: Info) -> tuple[int, int]:
    return int(info.get("timeline") or 0), _lsn(info.get("lsn"))


def _replayed(info: Info) -> int:
    return _lsn(info.get("replayed_lsn"))


def _lsn(text: object) -> int:
    high, low = str(text or "0/0").split("/")
    return (int(high, 16) << 32) + int(low, 16)


def _with_role(infos: Mapping[str, Info], role: str) -> list[str]:
    return [host for host, info in infos.items() if info["role"] == role]


def _writer(host: str, infos: Mapping[str, Info | None]) -> dict[str, Any]:
    return {"writer": host, "followers": [other for other in infos if other != host], "problem": ""}


def _none(problem: str) -> dict[str, Any]:
    return {"writer": "", "followers": [], "problem": problem}


class FilterModule:
    """Offers the functions above to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "postgres_failover": postgres_failover,
            "postgres_most_advanced": postgres_most_advanced,
            "postgres_topology": postgres_topology,
        }
