# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks into a release before any machine is touched, and says in which order they get it."""

from __future__ import annotations

import json
import operator
import re
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

HostVars = Mapping[str, Mapping[str, Any]]
# What the role app_node registers on every node: the result of app_release in check mode.
FORETOLD = "__app_node_foretold"
NEXT = "node_modules/next/package.json"
CONFIG = ".next/required-server-files.json"
COMPARATOR = re.compile(r"(\^|~|>=|<=|>|<|=|)\s*v?(\d+)(?:\.(\d+|x|\*))?(?:\.(\d+|x|\*))?\S*")
RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def release_archive(path: str, requires: Sequence[str]) -> dict[str, Any]:
    """Return what is wrong with an archive, a sentence each, what its Next.js needs to run, and where its
    pages have their static files.
    """
    try:
        with tarfile.open(path, "r:*") as archive:
            members = {_plain(member.name): member for member in archive if _plain(member.name)}
            built = _next_of(archive, members)
    except (tarfile.TarError, EOFError, OSError) as error:
        return {
            "problems": [f"{path} is no tar archive ({error}): build it again."],
            "nextjs": "",
            "nodejs": "",
            "asset_prefix": "",
        }
    return {"problems": _problems(path, members, requires), **built}


def _plain(name: str) -> str:
    """Return a name as it is without ./ before it; of the archive's own folder nothing is left."""
    return "" if name == "." else name.removeprefix("./").rstrip("/")


def _problems(path: str, members: dict[str, tarfile.TarInfo], requires: Sequence[str]) -> list[str]:
    if outside := [name for name in members if name.startswith("/") or ".." in PurePosixPath(name).parts]:
        return [f"{path} has {outside[0]}, which lies outside of the release's folder: pack it without."]
    missing = [name for name in requires if not _has(members, name)]
    if not missing:
        return []
    tops = {PurePosixPath(name).parts[0] for name in members}
    if len(tops) == 1 and all(_has(members, f"{next(iter(tops))}/{name}") for name in requires):
        top = next(iter(tops))
        return [
            f"{path} has everything in the folder {top}: pack what is in that folder (tar -C {top} -c .)."
        ]
    return [
        f"{path} has no {', no '.join(missing)}: pack a Next.js build with `output: 'standalone'`, and its "
        ".next/static, which the build leaves outside, beside server.js (app_node_artifact_requires)."
    ]


def _has(members: dict[str, tarfile.TarInfo], name: str) -> bool:
    return name in members or any(member.startswith(f"{name}/") for member in members)


def _next_of(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> dict[str, str]:
    """Return which Next.js is in the archive, which Node.js it asks for, and the CDN that it was built for;
    empty where it is not said.
    """
    package = _read(archive, members, NEXT)
    config = _read(archive, members, CONFIG).get("config", {})
    return {
        "nextjs": str(package.get("version", "")),
        "nodejs": str(package.get("engines", {}).get("node", "")),
        "asset_prefix": str(config.get("assetPrefix") or ""),
    }


def _read(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], wanted: str) -> dict[str, Any]:
    """Return what a JSON file has, wherever the app's own folder is; nothing where there is none."""
    found = next((m for name, m in members.items() if name == wanted or name.endswith(f"/{wanted}")), None)
    file = archive.extractfile(found) if found else None
    try:
        told = json.load(file) if file else {}
    except ValueError:
        return {}
    return dict(told)


def nodejs_satisfies(version: str, wanted: str) -> bool:
    """Return whether a version of Node.js is one of those that a package's `engines` allows.

    It knows the forms that `engines` come in: comparisons, ^, ~, x, and alternatives.
    """
    have = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    return not wanted.strip() or any(
        all(_compares(have, *comparator) for comparator in COMPARATOR.findall(alternative))
        for alternative in wanted.split("||")
    )


def _compares(have: tuple[int, ...], relation: str, *parts: str) -> bool:
    least = [int(part) for part in parts if part.isdecimal()]
    bound = (*least, *[0] * (3 - len(least)))
    if relation in RELATIONS:
        return RELATIONS[relation](have, bound)
    # What must be the same: with ^ the first number, with ~ the first two, else all that are said.
    same = {"^": 1, "~": 2}.get(relation, len(least))
    return have >= bound and have[: min(same, len(least))] == tuple(least[:same])


def release_rollout(hosts: Sequence[str], hostvars: HostVars) -> dict[str, Any]:
    """Return in which order nodes are brought to a release, and where each goes back to."""
    told = {host: hostvars[host].get(FORETOLD) or {} for host in hosts}
    # Enabled, not active: a node whose processes have just died is one that serves, too.
    served = [host for host in hosts if _enabled(told[host].get("before"))]
    serving = [host for host in hosts if _enabled(told[host].get("after"))]
    changing = [host for host in hosts if told[host].get("actions")]
    starting = [host for host in changing if host not in served]
    stopping = [host for host in changing if host not in serving and host in served]
    before = {host: str((told[host].get("before") or {}).get("current", "")) for host in hosts}
    # What needs no change beside others that do serves the release since a run that was killed. It goes where
    # they come from, if that is one; where nobody changes who served, all of them stay.
    common = {before[host] for host in changing if host in served}

    def back(host: str) -> str:
        if host not in served:
            return ""
        if host in changing or not common:
            return before[host]
        return next(iter(common)) if len(common) == 1 else ""

    return {
        "order": [
            *starting,
            *[host for host in changing if host not in (*starting, *stopping)],
            *stopping,
        ],
        "served": served,
        "idle": [host for host in hosts if host not in serving],
        "fresh": [host for host in hosts if host not in served],
        "back": {host: back(host) for host in hosts},
    }


def _enabled(state: Mapping[str, Any] | None) -> bool:
    return any(process["enabled"] for process in (state or {}).get("processes", ()))


def release_outcome(hosts: Sequence[str], hostvars: HostVars, bad: Sequence[str]) -> str:
    """Return in words what nodes serve after they went back; of those that are bad it is not known."""
    rollout = release_rollout(hosts, hostvars)
    releases = {PurePosixPath(folder).name for folder in rollout["back"].values() if folder}
    release = " or ".join(sorted(releases)) or "nothing yet"
    stopped = [host for host in rollout["fresh"] if host in rollout["order"] and host not in bad]
    said = []
    if bad:
        said.append(f"Without requests, because what they serve is not known: {', '.join(bad)}.")
        said.append(f"The others serve {release}.")
    elif rollout["served"]:
        said.append(f"All nodes serve {release} again.")
    if stopped:
        said.append(f"Stopped again: {', '.join(stopped)}.")
    return " ".join(said)


class FilterModule:
    """Offers the functions above to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "nodejs_satisfies": nodejs_satisfies,
            "release_archive": release_archive,
            "release_outcome": release_outcome,
            "release_rollout": release_rollout,
        }
