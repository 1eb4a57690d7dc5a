# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked: the kinds of requests, how often each, and what makes an answer a good one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any], bool]
UNIT = re.compile(r"^(\w+)=(\d+(?:\.\d+)?)$")


@dataclass(frozen=True)
class Kind:
    """A kind of request; `{id}` in its path is that of a contact written earlier."""

    name: str
    method: str
    path: str
    status: int = 200
    # Takes long on purpose, so it says nothing about how soon the service answers again.
    slow: bool = False
    # Of the JSON in the answer; a page has none.
    check: Check | None = None

    def wrong(self, status: int, content_type: str, body: bytes) -> str | None:
        """Return why this answer is none, or nothing where it is a good one."""
        if status != self.status:
            return f"status {status}"
        if self.check is None:
            return None if content_type.startswith("text/html") and b"</html>" in body else "wrong answer"
        try:
            return None if self.check(json.loads(body)) else "wrong answer"
        except (ValueError, TypeError, AttributeError, KeyError):
            return "wrong answer"


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("page", "GET", "/"),
        Kind("contacts", "GET", "/api/contacts", check=lambda said: isinstance(said["contacts"], list)),
        # The name is compared with the one that was written, by whoever knows it.
        Kind("contact", "GET", "/api/contacts/{id}", check=lambda said: bool(said["name"])),
        Kind("me", "GET", "/api/me", check=lambda said: "@" in said["email"]),
        Kind("whoami", "GET", "/api/whoami", check=lambda said: bool(said["release"])),
        Kind("create", "POST", "/api/contacts", status=201, check=lambda said: bool(said["id"])),
        Kind("slow", "GET", "/api/slow?ms=5000", slow=True, check=lambda said: said["slept_ms"] == 5000),
        Kind(
            "slow_post", "POST", "/api/slow?ms=5000", slow=True, check=lambda said: said["slept_ms"] == 5000
        ),
    )
}
# The rest of what such an application is asked: mostly reads, one in six a write, some that are under way
# for long.
WEIGHTS: Mapping[str, float] = {
    "page": 5,
    "contacts": 32,
    "contact": 20,
    "me": 17,
    "whoami": 7,
    "create": 17,
    "slow": 1,
    "slow_post": 1,
}
SLOW = frozenset(kind.name for kind in KINDS.values() if kind.slow)
# What a balancer may ask another process for, because asking twice does no harm.
READS = frozenset(kind.name for kind in KINDS.values() if kind.method == "GET")


def weights_of(text: str) -> dict[str, float]:
    """Read `page=1,create=2.5`; kinds that are not named are not asked for."""
    found = {}
    for part in text.split(","):
        match = UNIT.match(part.strip())
        if match is None or match[1] not in KINDS:
            raise ValueError(f"{part!r} is not NAME=WEIGHT with one of {', '.join(KINDS)}")
        found[match[1]] = float(match[2])
    if not sum(found.values()):
        raise ValueError("all weights are 0")
    return found
