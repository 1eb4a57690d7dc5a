# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps to the servers that are wanted, and what is refused. Pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._nginx.model import SERVER, State, Wanted
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Outcome, Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Step as AnyStep


class Actions(Protocol):
    """What the steps need done. Each returns only once it has taken effect."""

    def write(self, content: str) -> None: ...
    def reload(self) -> None: ...


Step = AnyStep[State, Actions]


@dataclass(frozen=True)
class Write:
    path: str
    content: str

    def describe(self) -> str:
        return f"Write {self.path}."

    def simulate(self, state: State) -> State:
        return replace(state, content=self.content, loaded=False)

    def apply(self, io: Actions) -> None:
        io.write(self.content)


@dataclass(frozen=True)
class Reload:
    def describe(self) -> str:
        return "Reload nginx, and wait until its new workers have taken over."

    def simulate(self, state: State) -> State:
        return replace(state, loaded=True)

    def apply(self, io: Actions) -> None:
        io.reload()


def plan(state: State, wanted: Wanted) -> tuple[Step, ...]:
    """Return the steps that are left, or refuse."""
    if sentence := _refusal(state, wanted):
        raise Refusal(f"{state.host}: {sentence}.")
    steps: list[Step] = []
    content = wanted.text(state.content)
    if content is not None and content != state.content:
        steps.append(Write(wanted.path, content))
        state = steps[0].simulate(state)
    # What does not run reads it when it is started.
    if state.running and not state.loaded:
        steps.append(Reload())
    return tuple(steps)


def _refusal(state: State, wanted: Wanted) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", wanted.name):
        return (
            f"name={wanted.name} is no name of an upstream: use letters, digits, underscores, dots and dashes"
        )
    if wanted.servers is None:
        addresses = [address for _head, address, _words in SERVER.findall(state.content or "")]
        return _refusal_of_an_end(wanted, addresses) if addresses else None
    if not wanted.servers:
        return "servers is empty: list at least one as host:port"
    addresses = [server.address for server in wanted.servers]
    if twice := [address for address, count in Counter(addresses).items() if count > 1]:
        return f"servers has {twice[0]} twice: nginx would send it twice as much; use weight for that"
    if odd := [address for address in addresses if not re.fullmatch(r"[^\s;{}\"'\\$]+:[0-9]+", address)]:
        return f"servers has {odd[0]}, which is not host:port"
    if odd := [server.address for server in wanted.servers if server.max_conns < 0]:
        return f"servers has {odd[0]} with a max_conns below 0: give a number, or 0 for no limit"
    if strange := [address for address in wanted.drained if address not in addresses]:
        return f"drained has {strange[0]}, which is none of servers: correct it"
    if sentence := _refusal_of_an_end(wanted, addresses):
        return sentence
    if state.problem:
        return (
            f"nginx does not take the servers of {wanted.name} ({state.problem}): correct them; nothing was "
            "changed"
        )
    return None


def _refusal_of_an_end(wanted: Wanted, addresses: list[str]) -> str | None:
    if all(address in wanted.drained for address in addresses):
        return f"drained names all servers of {wanted.name}: nobody would be left to serve; leave one out"
    return None


def view(state: State) -> dict[str, Any]:
    """Return what is told of a state: the servers in the file, and which of them get no new requests."""
    found = SERVER.findall(state.content or "")
    # Each once: the last resort has them again.
    return {
        "servers": list(dict.fromkeys(address for _head, address, _words in found)),
        "drained": list(dict.fromkeys(address for _head, address, words in found if "down" in words.split())),
        "running": state.running,
        "loaded": state.loaded,
    }


def report(outcome: Outcome[State], wanted: Wanted, open_connections: dict[str, int]) -> dict[str, Any]:
    """Return the module's result."""
    return {
        "changed": outcome.changed,
        "actions": list(outcome.actions),
        "before": view(outcome.before),
        "after": view(outcome.after),
        "open_connections": open_connections,
        "diff": {
            "before_header": wanted.path,
            "after_header": wanted.path,
            "before": outcome.before.content or "",
            "after": outcome.after.content or "",
        },
    }
