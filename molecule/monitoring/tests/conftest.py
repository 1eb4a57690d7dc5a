# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines that watch, asked by the HTTP interfaces that people use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Asking, Machines

HOSTS = ("lb1", "app1", "pg1", "pg2", "redis1", "mon1", "mon2")


@dataclass
class Watch:
    """Prometheus and Alertmanager of each machine that watches."""

    machines: Machines
    ask: Asking
    addresses: dict[str, str]

    def prometheus(self, path: str, name: str = "mon1") -> Any:
        answer = self.ask(f"http://{self.addresses[name]}:9090/api/v1/{path}").json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, query: str, name: str = "mon1") -> dict[str, float]:
        """Return what a query yields, by the instance."""
        found = self.prometheus(f"query?query={quote(query)}", name)["result"]
        return {one["metric"].get("instance", ""): float(one["value"][1]) for one in found}

    def alerts(self, name: str, alert: str) -> dict[str, str]:
        """Return the states of an alert, by the instance."""
        return {
            one["labels"].get("instance", ""): one["state"]
            for one in self.prometheus("alerts", name)["alerts"]
            if one["labels"]["alertname"] == alert
        }

    def told(self, name: str, alert: str) -> list[dict[str, Any]]:
        """Return what Alertmanager knows of an alert."""
        known = self.ask(f"http://{self.addresses[name]}:9093/api/v2/alerts").json()
        return [one for one in known if one["labels"]["alertname"] == alert]

    def run(self, name: str, command: str, *words: str) -> str:
        return str(self.machines(name).check_output(command, *words))

    def secret(self, name: str) -> str:
        return str(self.machines("mon1").ansible.get_variables()[name])


@pytest.fixture(scope="session")
def watch(machines: Machines, ask: Asking) -> Watch:
    addresses = {name: str(machines(name).ansible.get_variables()["ansible_host"]) for name in HOSTS}
    return Watch(machines, ask, addresses)
