# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab role computes: what is its own, and what speaks against starting machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any

LABEL = "payaid.lab"
CACHE = "payaid-lab-cache"
# What the systemd of a machine holds as root, measured on the full platform.
INOTIFY_PER_MACHINE = 5


def lab_containers(containers: Iterable[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Sort `podman inspect` records into this lab's machines, the shared package cache and strangers."""
    machines: dict[str, str] = {}
    stopped: list[str] = []
    strangers: list[str] = []
    cache: dict[str, Any] = {"exists": False, "running": False, "networks": []}
    for container in containers:
        full_name = container["Name"]
        label = (container["Config"].get("Labels") or {}).get(LABEL)
        running = container["State"]["Status"] == "running"
        if full_name == CACHE and label == "cache":
            networks = sorted(container["NetworkSettings"].get("Networks") or {})
            cache = {"exists": True, "running": running, "networks": networks}
        elif label == name and full_name.startswith(f"{name}-"):
            machine = full_name.removeprefix(f"{name}-")
            machines[machine] = container.get("ImageName") or ""
            if not running:
                stopped.append(machine)
        elif full_name.startswith(f"{name}-"):
            strangers.append(full_name)
    return {
        "machines": machines,
        "containers": sorted(f"{name}-{machine}" for machine in machines),
        "running": sorted(set(machines) - set(stopped)),
        "stopped": sorted(stopped),
        "strangers": sorted(strangers),
        "cache": cache,
    }


def lab_networks(networks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Reduce `podman network inspect` records to name, subnets and whether the lab made them."""
    return [
        {
            "name": network["name"],
            "subnets": [s["subnet"] for s in network.get("subnets") or [] if "." in s["subnet"]],
            "ours": LABEL in (network.get("labels") or {}),
        }
        for network in networks
    ]


def lab_problems(
    machines: Sequence[Mapping[str, str]],
    *,
    name: str,
    subnet: str,
    image: str,
    seen: Mapping[str, Any],
    networks: Sequence[Mapping[str, Any]],
    routes: str,
    meminfo: str,
    memory_per_machine_mb: int,
    inotify_limit: int,
    inotify_used: int,
    podman: bool,
) -> list[str]:
    """Return a sentence for each thing that speaks against starting these machines; none when all is well."""
    if not podman:
        return [
            "podman is not installed on this computer: install it, or set lab_install_host_packages=true."
        ]
    if not machines:
        return ["lab_machines is empty: name at least one machine."]
    try:
        network = IPv4Network(subnet)
    except ValueError as error:
        return [f"lab_subnet={subnet} is not an IPv4 network: {error}."]
    if network.prefixlen != 24:
        return [f"lab_subnet={subnet} must be a /24."]
    problems = _address_problems(machines, network)
    problems += _ownership_problems(machines, name, image, seen, networks)
    problems += _network_problems(name, network, networks, routes)
    to_start = len({machine["name"] for machine in machines} - set(seen["running"]))
    problems += _memory_problems(to_start, meminfo, memory_per_machine_mb)
    problems += _inotify_problems(to_start, inotify_limit, inotify_used)
    return problems


def _address_problems(machines: Sequence[Mapping[str, str]], network: IPv4Network) -> list[str]:
    problems = []
    owner: dict[str, str] = {}
    for machine in machines:
        address = machine["address"]
        if not _is_usable(address, network):
            problems.append(f"{machine['name']}: address {address} must lie in {network}, from .3 to .254.")
        if address in owner:
            problems.append(f"{machine['name']} and {owner[address]} share the address {address}.")
        owner[address] = machine["name"]
    return problems


def _is_usable(address: str, network: IPv4Network) -> bool:
    try:
        last = int(IPv4Address(address)) - int(network.network_address)
    except ValueError:
        return False
    return 3 <= last <= 254


def _ownership_problems(
    machines: Sequence[Mapping[str, str]],
    name: str,
    image: str,
    seen: Mapping[str, Any],
    networks: Sequence[Mapping[str, Any]],
) -> list[str]:
    # The machines of a lab called payaid-b begin like those of payaid: only an equal name is in the way.
    wanted = {f"{name}-{machine['name']}" for machine in machines}
    problems = [
        f"The container {stranger} exists and is not this lab's: choose another lab_name (LAB_NAME)."
        for stranger in seen["strangers"]
        if stranger in wanted
    ]
    if any(n["name"] == name and not n["ours"] for n in networks):
        problems.append(
            f"The network {name} exists and is not this lab's: choose another lab_name (LAB_NAME)."
        )
    if other := sorted({used for used in seen["machines"].values() if used and used != image}):
        problems.append(
            f"The lab {name} runs machines of another image ({', '.join(other)}, wanted {image}): "
            "take it away first with `make lab-down`."
        )
    return problems


def _network_problems(
    name: str, network: IPv4Network, networks: Sequence[Mapping[str, Any]], routes: str
) -> list[str]:
    mine = [ip_network(s) for n in networks if n["name"] == name for s in n["subnets"]]
    if mine and network not in mine:
        return [
            f"The network {name} has the subnet {mine[0]}, wanted {network}: "
            "`make lab-down` first, or keep LAB_SUBNET."
        ]
    for other in networks:
        if other["name"] != name and any(network.overlaps(ip_network(s)) for s in other["subnets"]):
            return [f"lab_subnet={network} is taken by the podman network {other['name']}: set LAB_SUBNET."]
    if not mine:
        for interface, route in _parse_routes(routes):
            if route.prefixlen and network.overlaps(route):
                return [f"lab_subnet={network} is taken by the route {route} on {interface}: set LAB_SUBNET."]
    return []


def _parse_routes(text: str) -> list[tuple[str, IPv4Network]]:
    """Read /proc/net/route: addresses and masks are little-endian hexadecimal."""
    found = []
    for line in text.splitlines()[1:]:
        interface, destination, _gateway, _flags, _ref, _use, _metric, mask = line.split()[:8]
        address = int.from_bytes(bytes.fromhex(destination), "little")
        prefix = int.from_bytes(bytes.fromhex(mask), "little").bit_count()
        found.append((interface, IPv4Network((address, prefix))))
    return found


def _memory_problems(to_start: int, meminfo: str, per_machine_mb: int) -> list[str]:
    available_mb = (
        next(int(line.split()[1]) for line in meminfo.splitlines() if line.startswith("MemAvailable:"))
        // 1024
    )
    if (needed := to_start * per_machine_mb) > available_mb:
        return [
            f"{to_start} machines need {needed} MiB of free memory and this computer has {available_mb} MiB: "
            "close something, or use LAB_SIZE=small."
        ]
    return []


def _inotify_problems(to_start: int, limit: int, used: int) -> list[str]:
    """Count what systemd cannot start without: a machine that gets none ends at once, with status 255."""
    needed = to_start * INOTIFY_PER_MACHINE
    if needed and (wanted := used + needed) > limit:
        enough = 1 << (wanted - 1).bit_length()  # the next power of two, as the kernel's own value is one
        return [
            f"{to_start} machines need {needed} inotify instances and root has {max(limit - used, 0)} of "
            f"{limit} left: allow more by `sudo sysctl fs.inotify.max_user_instances={enough}`, or use "
            "LAB_SIZE=small."
        ]
    return []


def lab_machines_of(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Turn inventory hosts into the machines that the role makes."""
    return [{"name": host, "address": str(hostvars[host]["ansible_host"])} for host in hosts]


def lab_table(machines: Sequence[Mapping[str, str]], *, name: str, seen: Mapping[str, Any]) -> list[str]:
    """Return a line for each machine: name, address and whether it runs."""
    state = dict.fromkeys(seen["running"], "running") | dict.fromkeys(seen["stopped"], "stopped")
    return [f"{name}-{m['name']:<10} {m['address']:<15} {state.get(m['name'], 'missing')}" for m in machines]


class FilterModule:
    """Offers the functions above to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "lab_containers": lab_containers,
            "lab_machines_of": lab_machines_of,
            "lab_networks": lab_networks,
            "lab_problems": lab_problems,
            "lab_table": lab_table,
        }
