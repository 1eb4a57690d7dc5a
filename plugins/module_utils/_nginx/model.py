# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers behind one name in nginx: what is wanted, and what is found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

HEAD = "# Written whole by payaid.scaling.nginx_upstream; a change made here is lost.\n"
# Room for what the workers have to know of each other: failures counted, requests under way. A server takes
# about 1 KiB of it.
ZONE = "256k"
SERVER = re.compile(r"^( *server )([^ ;]+)([^;]*);", re.MULTILINE)


@dataclass(frozen=True)
class Server:
    """One server as nginx is to see it."""

    address: str
    weight: int = 1
    max_fails: int = 3
    fail_timeout: int = 30
    max_conns: int = 0
    backup: bool = False


@dataclass(frozen=True)
class Wanted:
    """The options of nginx_upstream."""

    name: str
    path: str
    # None for those that are in the file, as they are.
    servers: tuple[Server, ...] | None
    method: str
    keepalive: int
    keepalive_timeout: int
    last_resort: bool
    drained: tuple[str, ...]
    drain_timeout: int
    reload_timeout: int
    pid_file: str
    config: str

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Wanted:
        taken = {name: params[name] for name in cls.__annotations__}
        taken["path"] = params["path"] or f"/etc/nginx/upstreams/{params['name']}.conf"
        if params["servers"] is not None:
            taken["servers"] = tuple(Server(**server) for server in params["servers"])
        taken["drained"] = tuple(params["drained"])
        return cls(**taken)

    def text(self, found: str | None) -> str | None:
        """Return the file as it is to be; none where there is none and no servers are given."""
        if self.servers is None:
            return None if found is None else SERVER.sub(self._marked, found)
        return self._whole(self.servers)

    def _marked(self, line: re.Match[str]) -> str:
        """Return the line of a server that is there, with or without the word that takes it out."""
        head, address, words = line.groups()
        kept = [word for word in words.split() if word != "down"]
        return " ".join([f"{head}{address}", *kept, *(["down"] if address in self.drained else [])]) + ";"

    def _whole(self, servers: tuple[Server, ...]) -> str:
        lines = [] if self.method == "round_robin" else [f"{self.method};"]
        lines.append(f"zone {self.name} {ZONE};")
        last_resort = self._last_resort(servers)
        lines += [
            self._line(replace(server, max_conns=(server.max_conns + 1) // 2) if last_resort else server)
            for server in servers
        ]
        lines += [self._line(server) for server in last_resort]
        if self.keepalive:
            lines += [f"keepalive {self.keepalive};", f"keepalive_timeout {self.keepalive_timeout}s;"]
        inside = "".join(f"    {line}\n" for line in lines)
        return f"{HEAD}upstream {self.name} {{\n{inside}}}\n"

    def _last_resort(self, servers: tuple[Server, ...]) -> list[Server]:
        """Return the servers as those that are tried when all are held for dead.

        What is slow is often behind all of them. Without these, nginx would answer 502 to everybody for a
        whole fail_timeout, also where that is over by then.
        """
        # With ip_hash, nginx knows no backup.
        if not self.last_resort or self.method == "ip_hash" or any(server.backup for server in servers):
            return []
        # nginx counts what each line has in hand, and asks a backup also when the others have enough: so
        # the two of a server share what it takes. Of a single request there is no half, and 0 is no limit.
        return [
            replace(server, max_fails=0, max_conns=server.max_conns // 2, backup=True)
            for server in servers
            if server.max_conns != 1
        ]

    def _line(self, server: Server) -> str:
        words = ["server", server.address]
        if server.weight != 1:
            words.append(f"weight={server.weight}")
        words += [f"max_fails={server.max_fails}", f"fail_timeout={server.fail_timeout}s"]
        if server.max_conns:
            words.append(f"max_conns={server.max_conns}")
        if server.backup:
            words.append("backup")
        if server.address in self.drained:
            words.append("down")
        return f"{' '.join(words)};"


@dataclass(frozen=True)
class State:
    """All that a decision needs."""

    host: str
    # None where there is no file.
    content: str | None
    # What nginx says of the wanted file, taken by itself.
    problem: str = ""
    running: bool = True
    # The workers were started after the file was written, so they have read it.
    loaded: bool = True
