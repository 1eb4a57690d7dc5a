# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules in the words of nft. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .rules import TCP, UDP, Rule, network_of


def lines(rules: Sequence[Rule]) -> Iterator[str]:
    """Return a line for each rule, or two where addresses of both kinds are let in."""
    for rule in rules:
        what = " ".join([*_service(rule), f'accept comment "{rule.name}"'])
        if not rule.sources:
            yield what
        for words, version in (("ip saddr", 4), ("ip6 saddr", 6)):
            if some := [one for one in rule.sources if network_of(one).version == version]:
                yield f"{words} {_set(some)} {what}"


def _service(rule: Rule) -> Iterator[str]:
    if rule.proto in {TCP, UDP}:
        yield f"{rule.proto} dport {_set(rule.ports)}"
    else:
        # By its number: its name is in a file that not every machine has.
        yield "meta l4proto 112"


def _set(members: Sequence[object]) -> str:
    return f"{{ {', '.join(map(str, members))} }}"
