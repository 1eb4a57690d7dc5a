# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks and tells systemd and the processes themselves."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from ansible_collections.payaid.scaling.plugins.module_utils._app.model import Desired, Process, State
from ansible_collections.payaid.scaling.plugins.module_utils._module import Run
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal


class Host:
    """The app processes of this host."""

    def __init__(
        self, run: Run, *, link: str, unit: str, config_files: Sequence[str], health_path: str, timeout: float
    ) -> None:
        self._run = run
        self._link = link
        self._unit = unit
        self._config_files = config_files
        self._health_path = health_path
        self._timeout = timeout
        # The processes of this host are never behind a proxy, whatever the environment says.
        self._opener = build_opener(ProxyHandler({}))

    def observe(self, desired: Desired) -> State:
        units = self._show_units(desired.ports)
        # ctime: a package puts its files in place with the time at which they were built.
        written = [
            os.lstat(path).st_ctime for path in (self._link, *self._config_files) if os.path.lexists(path)
        ]
        return State(
            link_target=os.readlink(self._link) if os.path.islink(self._link) else "",
            configured_at=max(written, default=0.0),
            units_stale=any(unit["NeedDaemonReload"] == "yes" for unit in units),
            processes=tuple(
                self._process(port, unit) for port, unit in zip(desired.ports, units, strict=True)
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

    def enable(self, port: int) -> None:
        self._systemctl("enable", "--quiet", self._unit_of(port))

    def restart(self, port: int, release: str) -> None:
        self._systemctl("restart", self._unit_of(port))
        deadline = time.monotonic() + self._timeout
        while True:
            serving = self._release_of(port)
            status, said = self._get(port, self._health_path)
            if serving == release and status == 200:
                return
            if time.monotonic() > deadline:
                raise Refusal(
                    f"{socket.gethostname()}: the process on port {port} did not serve release {release} "
                    f"within {self._timeout:.0f} s (it names {serving or 'none'}; {self._health_path} says "
                    f"{said}): look with `journalctl -u {self._unit_of(port)}`. "
                    "The other processes were left alone.",
                    port=port,
                )
            time.sleep(0.25)

    def _systemctl(self, *arguments: str) -> str:
        status, output, errors = self._run(["systemctl", *arguments])
        if status:
            said = errors.strip().rstrip(".") or f"exit status {status}"
            raise Refusal(
                f"{socket.gethostname()}: `systemctl {' '.join(arguments)}` failed: {said}.", rc=status
            )
        return output

    def _unit_of(self, port: int) -> str:
        return self._unit.format(port=port)

    def _show_units(self, ports: Sequence[int]) -> list[dict[str, str]]:
        wanted = "ActiveState,UnitFileState,NeedDaemonReload,ExecMainStartTimestampMonotonic"
        output = self._systemctl("show", f"--property={wanted}", *(self._unit_of(port) for port in ports))
        return [
            dict(line.split("=", 1) for line in block.splitlines()) for block in output.strip().split("\n\n")
        ]

    def _process(self, port: int, unit: dict[str, str]) -> Process:
        active = unit["ActiveState"] == "active"
        # systemd's monotonic microseconds, carried over to the clock that files are dated by.
        age = time.monotonic() - int(unit["ExecMainStartTimestampMonotonic"]) / 1e6
        return Process(
            port=port,
            active=active,
            enabled=unit["UnitFileState"] == "enabled",
            started_at=time.time() - age if active else 0.0,
            release=self._release_of(port) if active else "",
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
                with self._opener.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                    return answer.status, answer.read(65536).decode(errors="replace")
            except HTTPError as error:
                with error:
                    return error.code, f"{error.code} {error.read(2048).decode(errors='replace')}"
        # HTTPException: a process that ends in the middle of its answer.
        except (OSError, HTTPException) as error:
            return 0, f"nothing ({getattr(error, 'reason', error)})"
