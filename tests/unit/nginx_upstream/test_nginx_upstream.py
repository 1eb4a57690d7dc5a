# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of servers, the steps to it, and what is refused."""

from __future__ import annotations

import re
import socket
import sys
from dataclasses import fields, replace
from typing import Any

import pytest
import yaml
from ansible_collections.payaid.scaling.plugins.module_utils._nginx import io
from ansible_collections.payaid.scaling.plugins.module_utils._nginx.model import HEAD, Server, State, Wanted
from ansible_collections.payaid.scaling.plugins.module_utils._nginx.plan import plan, view
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.modules import nginx_upstream
from hypothesis import given
from hypothesis import strategies as st

FACTS = ("type", "required", "default", "choices", "elements")
FIRST, SECOND = "192.0.2.21:3000", "192.0.2.22:3000"
WANTED = Wanted(
    name="app",
    path="/etc/nginx/upstreams/app.conf",
    servers=(Server(FIRST), Server(SECOND)),
    method="least_conn",
    keepalive=32,
    keepalive_timeout=60,
    last_resort=True,
    drained=(),
    drain_timeout=30,
    reload_timeout=10,
    pid_file="/run/nginx.pid",
    config="/etc/nginx/nginx.conf",
)
DRAINED = replace(WANTED, drained=(SECOND,))
TEXT, DRAINED_TEXT = str(WANTED.text(None)), str(DRAINED.text(None))
AS_WANTED = State("lb1", TEXT)


def names(state: State, wanted: Wanted = WANTED) -> str:
    return " ".join(type(step).__name__ for step in plan(state, wanted))


def test_the_file_is_what_nginx_reads() -> None:
    assert (
        f"{HEAD}upstream app {{\n"
        "    least_conn;\n"
        "    zone app 256k;\n"
        f"    server {FIRST} max_fails=3 fail_timeout=30s;\n"
        f"    server {SECOND} max_fails=3 fail_timeout=30s down;\n"
        f"    server {FIRST} max_fails=0 fail_timeout=30s backup;\n"
        f"    server {SECOND} max_fails=0 fail_timeout=30s backup down;\n"
        "    keepalive 32;\n"
        "    keepalive_timeout 60s;\n"
        "}\n"
    ) == DRAINED_TEXT
    odd = replace(
        WANTED,
        servers=(Server(FIRST, weight=3, max_fails=0, fail_timeout=5, backup=True),),
        method="round_robin",
        keepalive=0,
    )
    assert f"    server {FIRST} weight=3 max_fails=0 fail_timeout=5s backup;\n" in (odd.text(None) or "")
    assert "keepalive" not in (odd.text(None) or "")
    assert "round_robin" not in (odd.text(None) or "")


@pytest.mark.parametrize(
    "changes",
    [
        {"last_resort": False},
        {"method": "ip_hash"},
        {"servers": (Server(FIRST), Server(SECOND, backup=True))},
    ],
)
def test_there_is_no_last_resort_where_nginx_knows_none_or_it_is_not_wanted(changes: dict[str, Any]) -> None:
    text = replace(WANTED, **changes).text(None) or ""
    assert text.count("server ") == 2


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_server_and_its_last_resort_share_what_it_may_have_in_hand(limit: int) -> None:
    servers = (Server(FIRST, max_conns=limit), Server(SECOND))
    text = replace(WANTED, servers=servers).text(None) or ""
    lines = [line for line in text.splitlines() if FIRST in line]
    limits = [int(found) for line in lines for found in re.findall(r"max_conns=(\d+)", line)]
    # None without a limit, and no more of them than are asked for.
    assert (len(limits), sum(limits), 0 in limits) == (len(lines), limit, False)
    assert "max_conns" not in "".join(line for line in text.splitlines() if SECOND in line)
    alone = replace(WANTED, servers=servers, last_resort=False).text(None) or ""
    assert f"server {FIRST} max_fails=3 fail_timeout=30s max_conns={limit};\n" in alone


@pytest.mark.parametrize(
    ("state", "wanted", "steps"),
    [
        (AS_WANTED, WANTED, ""),
        (AS_WANTED, DRAINED, "Write Reload"),
        (State("lb1", None), WANTED, "Write Reload"),
        (replace(AS_WANTED, loaded=False), WANTED, "Reload"),
        (replace(AS_WANTED, running=False), DRAINED, "Write"),
        (replace(AS_WANTED, running=False, loaded=False), WANTED, ""),
    ],
)
def test_a_state_calls_for_these_steps(state: State, wanted: Wanted, steps: str) -> None:
    assert names(state, wanted) == steps


@given(
    st.sampled_from((None, "", TEXT, DRAINED_TEXT)),
    st.booleans(),
    st.booleans(),
    st.sampled_from((WANTED, DRAINED)),
)
def test_after_any_part_of_a_plan_the_rest_is_planned(
    content: str | None, running: bool, loaded: bool, wanted: Wanted
) -> None:
    found = State("lb1", content, running=running, loaded=loaded)
    steps = plan(found, wanted)
    for done in range(len(steps) + 1):
        assert plan(simulate(found, steps[:done]), wanted) == steps[done:]
    after = view(simulate(found, steps))
    assert (after["servers"], after["drained"]) == ([FIRST, SECOND], list(wanted.drained))


def test_without_servers_those_that_are_there_are_kept_as_they_are() -> None:
    only = replace(DRAINED, servers=None, keepalive=1, method="ip_hash")
    odd = TEXT.replace(f"server {FIRST} ", f"server {FIRST} weight=3 ")
    (write, _reload) = plan(State("lb1", odd), only)
    after = write.simulate(State("lb1", odd)).content
    assert after == odd.replace(
        f"server {SECOND} max_fails=3 fail_timeout=30s", f"server {SECOND} max_fails=3 fail_timeout=30s down"
    ).replace(
        f"server {SECOND} max_fails=0 fail_timeout=30s backup",
        f"server {SECOND} max_fails=0 fail_timeout=30s backup down",
    )
    back = replace(only, drained=())
    assert back.text(after) == odd
    assert plan(State("lb1", odd), back) == ()
    assert plan(State("lb1", None), only) == ()
    # What is not there gets no requests anyhow.
    assert plan(State("lb1", odd), replace(only, drained=("192.0.2.9:3000",))) == ()
    with pytest.raises(Refusal, match="names all servers"):
        plan(State("lb1", odd), replace(only, drained=(FIRST, SECOND)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"servers": ()}, "servers is empty"),
        ({"servers": (Server(FIRST), Server(FIRST))}, f"servers has {FIRST} twice"),
        ({"servers": (Server("app1"),)}, "servers has app1, which is not host:port"),
        ({"servers": (Server("a; } evil:80"),)}, "which is not host:port"),
        ({"servers": (Server(FIRST, max_conns=-1),)}, f"servers has {FIRST} with a max_conns below 0"),
        ({"drained": ("192.0.2.9:3000",)}, "drained has 192.0.2.9:3000, which is none of servers"),
        ({"drained": (FIRST, SECOND)}, "drained names all servers of app"),
        ({"name": "a b"}, "name=a b is no name of an upstream"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refusal) as caught:
        plan(AS_WANTED, replace(WANTED, **changes))
    assert sentence in caught.value.message
    assert caught.value.message.startswith("lb1: ")


def test_what_nginx_refuses_is_refused() -> None:
    with pytest.raises(Refusal, match=r"does not take the servers of app \(host not found\)"):
        plan(replace(AS_WANTED, problem="host not found"), DRAINED)


@pytest.mark.skipif(sys.byteorder != "little", reason="the words of the kernel's tables are the machine's")
def test_addresses_are_written_as_the_kernel_writes_them() -> None:
    assert io.kernel_address(socket.AF_INET, "192.0.2.21") == "150200C0"
    assert io.kernel_address(socket.AF_INET6, "2001:db8::21") == "B80D0120000000000000000021000000"


def test_documentation_arguments_and_options_agree() -> None:
    documented = yaml.safe_load(nginx_upstream.DOCUMENTATION)["options"]

    def facts(options: dict[str, Any]) -> dict[str, Any]:
        return {
            name: {key: option[key] for key in FACTS if key in option} for name, option in options.items()
        }

    assert facts(documented) == facts(nginx_upstream.ARGUMENTS)
    assert facts(documented["servers"]["suboptions"]) == facts(nginx_upstream.SERVER)
    assert {field.name for field in fields(Wanted)} == set(nginx_upstream.ARGUMENTS)
    assert {field.name for field in fields(Server)} == set(nginx_upstream.SERVER)
    for task in yaml.safe_load(nginx_upstream.EXAMPLES):
        assert set(task["payaid.scaling.nginx_upstream"]) <= set(nginx_upstream.ARGUMENTS)
