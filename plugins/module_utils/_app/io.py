# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks and tells systemd and the processes themselves."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Sequence
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from ansible_collections.payaid.scaling.plugins.module_utils._app.model import (
    RESTING,
    Desired,
    Process,
    State,
    Template,
    Wanted,
)
from ansible_collections.payaid.scaling.plugins.module_utils._module import Run
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal

PROPERTIES = "Id,ActiveState,UnitFileState,NeedDaemonReload,ExecMainStartTimestampMonotonic"


class Host:
    """The app processes of this host."""

    def __init__(
        self,
        run: Run,
        *,
        link: str,
        config_files: Sequence[str],
        address: str,
        health_path: str,
        timeout: float,
    ) -> None:
        self._run = run
        self._link = link
        self._config_files = config_files
        self._address = address
        self._health_path = health_path
        self._timeout = timeout
        # The processes of this host are never behind a proxy, whatever the environment says.
        self._opener = build_opener(ProxyHandler({}))

    def observe(self, desired: Desired) -> State:
        units = self._show_units(desired)
        # ctime: a package puts its files in place with the time at which they were built.
        written = [
            os.lstat(path).st_ctime for path in (self._link, *self._config_files) if os.path.lexists(path)
        ]
        resting = [one.port for one in desired.processes if units[one.unit]["ActiveState"] in RESTING]
        taken = self._listeners(resting) if resting else {}
        return State(
            host=socket.gethostname(),
            link_target=os.readlink(self._link) if os.path.islink(self._link) else "",
            configured_at=max(written, default=0.0),
            units_stale=any(unit["NeedDaemonReload"] == "yes" for unit in units.values()),
            processes=tuple(
                self._process(template, unit, taken)
                for template in desired.templates
                for unit in units.values()
                if template.port_of(unit["Id"]) is not None
            ),
        )

    def point_link(self, target: str) -> None:
        """Replace the link in one step: no moment without it."""
        if not os.path.isdir(target):
            raise Refusal(f"{socket.gethostname()}: there is no release in {target}: unpack it first.")
        fresh = f"{self._link}.new"
        if os.path.lexists(fresh):
            os.unlink(fresh)
        os.symlink(target, fresh)
        os.replace(fresh, self._link)

    def reload_units(self) -> None:
        self._systemctl("daemon-reload")

    def enable(self, unit: str) -> None:
        self._systemctl("enable", "--quiet", unit)

    def stop(self, unit: str) -> None:
        self._systemctl("disable", "--quiet", "--now", unit)

    def restart(self, process: Wanted, release: str) -> None:
        self._systemctl("restart", process.unit)
        deadline = time.monotonic() + self._timeout
        while True:
            serving = self._release_of(process.port)
            status, said = self._get(process.port, self._health_path)
            if serving == release and status == 200:
                break
            if time.monotonic() > deadline:
                raise self._not_up(
                    process,
                    f"did not serve release {release} within {self._timeout:.0f} s (it names "
                    f"{serving or 'none'}; {self._health_path} says {said})",
                )
            time.sleep(0.25)
        for path in process.warm_paths:
            status, said = self._get(process.port, path)
            if not 0 < status < 500:
                raise self._not_up(process, f"serves release {release}, but not {path}, which says {said}")

    def _not_up(self, process: Wanted, said: str) -> Refusal:
        return Refusal(
            f"{socket.gethostname()}: the process on port {process.port} {said}: look with "
            f"`journalctl -u {process.unit}`. The other processes were left alone.",
            port=process.port,
        )

    def _systemctl(self, *arguments: str) -> str:
        return self._ask("systemctl", *arguments)

    def _ask(self, *command: str) -> str:
        status, output, errors = self._run(command)
        if status:
            said = errors.strip().rstrip(".") or f"exit status {status}"
            raise Refusal(f"{socket.gethostname()}: `{' '.join(command)}` failed: {said}.", rc=status)
        return output

    def _show_units(self, desired: Desired) -> dict[str, dict[str, str]]:
        """Return the units that are wanted, and every other instance that systemd has loaded."""
        names = [wanted.unit for wanted in desired.processes]
        patterns = [template.instance("*") for template in desired.templates]
        output = self._systemctl("show", f"--property={PROPERTIES}", *names, *patterns)
        units = [
            dict(line.split("=", 1) for line in block.splitlines())
            for block in output.strip().split("\n\n")
            if block
        ]
        return {unit["Id"]: unit for unit in units}

    def _listeners(self, ports: Sequence[int]) -> dict[int, str]:
        """Return who listens on those of the ports that are taken."""
        taken = {}
        for line in self._ask(
            "ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes"
        ).splitlines():
            fields = line.split()
            port = int(fields[3].rpartition(":")[2])
            who = re.search(r'"(.+?)",pid=(\d+)', line)
            if port in ports:
                taken[port] = f"{who[1]} (process {who[2]})" if who else "another process"
        return taken

    def _process(self, template: Template, unit: dict[str, str], taken: dict[int, str]) -> Process:
        port = template.port_of(unit["Id"]) or 0
        active = unit["ActiveState"] == "active"
        # systemd's monotonic microseconds, carried over to the clock that files are dated by.
        age = time.monotonic() - int(unit["ExecMainStartTimestampMonotonic"]) / 1e6
        return Process(
            unit=unit["Id"],
            port=port,
            state=unit["ActiveState"],
            enabled=unit["UnitFileState"] == "enabled",
            started_at=time.time() - age if active else 0.0,
            release=self._release_of(port) if active else "",
            port_taken_by=taken.get(port, ""),
        )

    def _release_of(self, port: int) -> str:
        status, body = self._get(port, "/api/whoami")
        if status != 200:
            return ""
        try:
            answer = json.loads(body)
        except ValueError:
            return ""
        return str(answer.get("release", "")) if isinstance(answer, dict) else ""

    def _get(self, port: int, path: str) -> tuple[int, str]:
        try:
            try:
                with self._opener.open(f"http://{self._address}:{port}{path}", timeout=5) as answer:
                    return answer.status, answer.read(65536).decode(errors="replace")
            except HTTPError as error:
                with error:
                    return error.code, f"{error.code} {error.read(2048).decode(errors='replace')}"
        # HTTPException: a process that ends in the middle of its answer.
        except (OSError, HTTPException) as error:
            return 0, f"nothing ({getattr(error, 'reason', error)})"
