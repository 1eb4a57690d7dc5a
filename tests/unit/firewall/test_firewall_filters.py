# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a firewall lets in, by the flows of a platform and as nft has it, a row a case."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.payaid.scaling.plugins.filter.firewall import (
    FilterModule,
    firewall_flows,
    firewall_lines,
    firewall_problems,
    firewall_together,
)

Given = dict[str, Any]
GROUPS = {
    "load_balancers": ["lb1", "lb2"],
    "app_nodes": ["app1"],
    "databases": ["pg1", "pg2"],
    "backup": [],
    "redis_nodes": ["redis1", "app1"],
}
HOSTS = ["lb1", "lb2", "app1", "pg1", "pg2", "redis1"]
HOSTVARS = {host: {"platform_address": f"10.0.0.{last}"} for last, host in enumerate(HOSTS, start=1)}
FLOWS: list[Given] = [
    {"name": "web", "to": "load_balancers", "ports": [443, 80], "from": ["anybody"]},
    {"name": "vrrp", "to": "load_balancers", "proto": "vrrp", "from": ["load_balancers"]},
    {"name": "app", "to": "app_nodes", "ports": [3000], "from": ["load_balancers"]},
    {"name": "postgres", "to": "databases", "ports": [5432], "from": ["app_nodes", "databases"]},
    {"name": "backups", "to": "databases", "ports": [8432], "from": ["backup"]},
    {"name": "redis", "to": "redis_nodes", "ports": [6379], "from": ["app_nodes", "redis_nodes"]},
    {"name": "sentinel", "to": "redis_nodes", "ports": [], "from": ["app_nodes"]},
]


def rule(name: str, *sources: str, ports: tuple[int, ...] = (), proto: str = "tcp") -> Given:
    return {"name": name, "proto": proto, "ports": list(ports), "from": list(sources)}


@pytest.mark.parametrize(
    ("host", "rules"),
    [
        ("lb1", [rule("vrrp", "10.0.0.2", proto="vrrp"), rule("web", ports=(80, 443))]),
        ("lb2", [rule("vrrp", "10.0.0.1", proto="vrrp"), rule("web", ports=(80, 443))]),
        # A machine of two groups is asked for what both have, and nobody needs a rule for itself.
        (
            "app1",
            [rule("app", "10.0.0.1", "10.0.0.2", ports=(3000,)), rule("redis", "10.0.0.6", ports=(6379,))],
        ),
        # A group without machines is nobody, and never everybody.
        ("pg1", [rule("postgres", "10.0.0.3", "10.0.0.5", ports=(5432,))]),
        ("redis1", [rule("redis", "10.0.0.3", ports=(6379,))]),
        ("elsewhere", []),
    ],
)
def test_a_host_lets_in_who_the_flows_to_its_groups_come_from(host: str, rules: list[Given]) -> None:
    assert firewall_flows(FLOWS, GROUPS, HOSTVARS, host) == rules


def test_no_rule_of_a_machine_alone_in_its_tier_lets_everybody_in() -> None:
    groups = GROUPS | {"load_balancers": ["lb1"]}
    assert firewall_flows(FLOWS, groups, HOSTVARS, "lb1") == [rule("web", ports=(80, 443))]


@pytest.mark.parametrize("end", ["to", "from"])
def test_a_group_that_there_is_not_is_refused(end: str) -> None:
    flow = {"name": "odd", "to": "databases", "ports": [1], "from": ["databases"]}
    flow[end] = "caches" if end == "to" else ["caches"]
    with pytest.raises(AnsibleFilterError, match="The flow odd names the group caches, which there is not"):
        firewall_flows([flow], GROUPS, HOSTVARS, "pg1")


@pytest.mark.parametrize(
    ("rules", "others", "joined"),
    [
        ([], [], []),
        ([rule("a", ports=(1,))], [], [rule("a", ports=(1,))]),
        # Whoever was let in still is, and whoever is new is already.
        (
            [rule("a", "10.0.0.2", ports=(1,))],
            [rule("a", "10.0.0.1", ports=(1,)), rule("b", "10.0.0.1", ports=(2,))],
            [rule("a", "10.0.0.1", "10.0.0.2", ports=(1,)), rule("b", "10.0.0.1", ports=(2,))],
        ),
        ([rule("a", ports=(1,))], [rule("a", "10.0.0.1", ports=(1,))], [rule("a", ports=(1,))]),
        ([rule("a", "10.0.0.1", ports=(1,))], [rule("a", ports=(1,))], [rule("a", ports=(1,))]),
        (
            [rule("a", "10.0.0.1", ports=(1,))],
            [rule("a", "10.0.0.1", ports=(2,))],
            [rule("a", "10.0.0.1", ports=(1,)), rule("a", "10.0.0.1", ports=(2,))],
        ),
        # What nft would call a conflict is one network.
        (
            [rule("a", "2001:db8::1", "10.0.1.0", "10.0.0.7", "10.0.0.0/24", ports=(2, 1, 2))],
            [rule("a", "10.0.0.9/32", "10.0.0.0/25", "2001:db8::2", ports=(1, 2))],
            [rule("a", "10.0.0.0/24", "10.0.1.0", "2001:db8::1", "2001:db8::2", ports=(1, 2))],
        ),
    ],
)
def test_two_lists_let_in_whoever_one_of_them_does(
    rules: list[Given], others: list[Given], joined: list[Given]
) -> None:
    for first, second in ((rules, others), (others, rules)):
        assert firewall_together(first, second) == joined
    assert firewall_together(joined, rules) == joined
    assert firewall_together(list(reversed(joined)), []) == joined


def test_what_is_left_out_of_a_rule_has_a_meaning() -> None:
    assert firewall_together([{"name": "a", "ports": [7]}], []) == [rule("a", ports=(7,))]


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (rule("web", ports=(80, 443)), ['tcp dport { 80, 443 } accept comment "web"']),
        (rule("dns", ports=(53,), proto="udp"), ['udp dport { 53 } accept comment "dns"']),
        (
            rule("app", "10.0.0.1", "10.0.1.0/24", ports=(3000,)),
            ['ip saddr { 10.0.0.1, 10.0.1.0/24 } tcp dport { 3000 } accept comment "app"'],
        ),
        (
            rule("both", "10.0.0.1", "2001:db8::/64", ports=(1,)),
            [
                'ip saddr { 10.0.0.1 } tcp dport { 1 } accept comment "both"',
                'ip6 saddr { 2001:db8::/64 } tcp dport { 1 } accept comment "both"',
            ],
        ),
        (
            rule("vrrp", "10.0.0.2", proto="vrrp"),
            ['ip saddr { 10.0.0.2 } meta l4proto 112 accept comment "vrrp"'],
        ),
    ],
)
def test_a_rule_in_the_words_of_nft(given: Given, lines: list[str]) -> None:
    assert firewall_lines([given]) == lines


FINE: Given = {
    "rules": [rule("web", ports=(80, 443)), rule("vrrp", "10.0.0.2", proto="vrrp")],
    "extra_rules": [{"name": "node exporter", "ports": [9100], "from": ["10.0.0.0/24", "2001:db8::1"]}],
    "ssh_port": 22,
    "ssh_from": [],
    "try_seconds": 60,
    "conntrack_max": 0,
}
CONNECTION = "192.0.2.9 50000 192.0.2.11 22"


@pytest.mark.parametrize(
    ("given", "connection"),
    [
        ({}, CONNECTION),
        ({}, ""),
        ({"ssh_from": ["192.0.2.0/28"]}, CONNECTION),
        ({"ssh_from": ["198.51.100.1", "192.0.2.9"]}, CONNECTION),
        ({"ssh_from": ["fe80::/10"]}, "fe80::1%eth0 50000 fe80::2%eth0 22"),
        # Nothing is known of a controller that does not come by SSH.
        ({"ssh_from": ["198.51.100.1"], "ssh_port": 2222}, ""),
        ({"ssh_port": 2222}, "192.0.2.9 50000 192.0.2.11 2222"),
    ],
)
def test_what_can_be_has_no_problem(given: Given, connection: str) -> None:
    assert firewall_problems(FINE | given, "pg1", connection) == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            {"ssh_from": ["198.51.100.0/24", "2001:db8::/64"]},
            "firewall_ssh_from=198.51.100.0/24, 2001:db8::/64, which would lock the controller out, because "
            "it comes from 192.0.2.9: add that to it.",
        ),
        (
            {"ssh_port": 2222},
            "firewall_ssh_port=2222, which would lock the controller out, because it comes in at port 22: "
            "set it to that.",
        ),
        ({"ssh_port": 0}, "firewall_ssh_port=0: give a port from 1 to 65535."),
        (
            {"ssh_from": ["office"]},
            "firewall_ssh_from with office, which is no address and no network: give one such as "
            "192.0.2.0/24.",
        ),
        (
            {"try_seconds": 5},
            "firewall_try_seconds=5, in which the controller may not come back: set it to 10 or more.",
        ),
        ({"conntrack_max": -1}, "firewall_conntrack_max=-1: give a number of connections, or 0."),
        (
            {"rules": [rule('a" accept', ports=(1,))]},
            'firewall_rules[0] with name=a" accept: take letters, digits, spaces and ._/- for it.',
        ),
        (
            {"extra_rules": [rule("a", ports=(1,), proto="sctp")]},
            "firewall_extra_rules[0] with proto=sctp: set it to tcp, udp or vrrp.",
        ),
        (
            {"rules": [rule("a")]},
            "firewall_rules[0] with no ports: list some, or leave the rule out.",
        ),
        (
            {"rules": [rule("a", ports=(1,), proto="vrrp")]},
            "firewall_rules[0] with proto=vrrp, which has no ports: leave ports out.",
        ),
        (
            {"rules": [rule("a", ports=(70000,))]},
            "firewall_rules[0] with the port 70000: give one from 1 to 65535.",
        ),
        (
            {"rules": [rule("a", "10.0.0.256", ports=(1,))]},
            "firewall_rules[0].from with 10.0.0.256, which is no address and no network: give one such as "
            "192.0.2.0/24.",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(given: Given, problem: str) -> None:
    said = firewall_problems(FINE | given, "pg1", CONNECTION)
    # A wrong port for SSH is a lockout as well.
    assert said[0] == f"pg1 has {problem}"
    assert len(said) == (2 if given.get("ssh_port") == 0 else 1)


def test_templates_are_offered_them() -> None:
    assert set(FilterModule().filters()) == {
        "firewall_flows",
        "firewall_lines",
        "firewall_problems",
        "firewall_together",
    }
