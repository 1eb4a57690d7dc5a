# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role says what it takes, gives the defaults it says, and is tried on machines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .tree import ROLES, ROOT, read

Options = dict[str, dict[str, Any]]
TYPES: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "dict": dict,
    "float": (int, float),
    "int": int,
    "list": list,
    "path": str,
    "str": str,
}
# The roles without a scenario of their own, and the scenario that applies them.
COVERED_BY = {
    "exporters": "monitoring",
    "haproxy_reads": "postgres_reads",
    "lab": "platform",
    "postgres_agent": "postgres_reads",
    "postgres_server": "postgres_replica",
    "private_ca": "redis_cluster_tls",
    "redis_server": "redis_cluster",
}
NO_DEFAULT = object()


def entry_points(role: str) -> dict[str, dict[str, Any]]:
    points: dict[str, dict[str, Any]] = read(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]
    return points


def options_of(role: str) -> Options:
    """Return the options of all entry points."""
    return {
        name: option for point in entry_points(role).values() for name, option in point["options"].items()
    }


def defaults_of(role: str) -> dict[str, Any]:
    return read(f"roles/{role}/defaults/main.yml") or {}


def nested(options: Options, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in options.items():
        yield f"{path}{name}", option
        yield from nested(option.get("options", {}), f"{path}{name}.")


def is_of(value: Any, kind: str) -> bool:
    # In Python, a truth value is an int.
    return isinstance(value, TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_name_the_same_options(role: str) -> None:
    optional = {name for name, option in options_of(role).items() if not option.get("required")}
    assert set(defaults_of(role)) == optional


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_give_the_same_values(role: str) -> None:
    told = {
        name: option.get("default", NO_DEFAULT)
        for name, option in options_of(role).items()
        if not option.get("required")
    }
    assert told == defaults_of(role)


@pytest.mark.parametrize("role", ROLES)
def test_what_is_required_has_no_default(role: str) -> None:
    assert [
        n for n, option in nested(options_of(role)) if option.get("required") and "default" in option
    ] == []


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_of_the_type_they_are_said_to_be(role: str) -> None:
    for name, option in nested(options_of(role)):
        if "default" in option:
            assert is_of(option["default"], option["type"]), name
            assert option["default"] in option.get("choices", [option["default"]]), name
            if option["type"] == "list":
                assert all(is_of(element, option["elements"]) for element in option["default"]), name


@pytest.mark.parametrize("role", ROLES)
def test_every_option_says_what_it_is(role: str) -> None:
    for name, option in nested(options_of(role)):
        assert option.get("description"), name
        assert option.get("type") in TYPES, name
        assert (option["type"] == "list") == ("elements" in option), name


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_is_documented_and_has_its_tasks(role: str) -> None:
    points = entry_points(role)
    assert "main" in points
    for point, spec in points.items():
        assert spec["short_description"], point
        assert spec["description"], point
        assert (ROOT / f"roles/{role}/tasks/{point}.yml").is_file(), point


@pytest.mark.parametrize("role", ROLES)
def test_passwords_are_not_logged(role: str) -> None:
    shown = [
        name
        for name, option in nested(options_of(role))
        if "password" in name.rpartition(".")[2] and option["type"] == "str" and not option.get("no_log")
    ]
    assert shown == []


@pytest.mark.parametrize("role", ROLES)
def test_every_option_bears_the_name_of_the_role(role: str) -> None:
    assert [name for name in options_of(role) if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_option_is_used(role: str) -> None:
    folders = ("tasks", "templates", "vars", "handlers")
    files = (path for folder in folders for path in (ROOT / f"roles/{role}/{folder}").glob("*"))
    words = {word for path in files for word in re.findall(r"\w+", path.read_text())}
    assert set(options_of(role)) <= words


def roles_named_in(text: str) -> set[str]:
    return set(re.findall(r"(?:role|name): payaid\.scaling\.(\w+)", text))


def roles_applied_by(playbook: Path) -> set[str]:
    """Return the roles of a playbook, with those that they apply themselves."""
    text = playbook.read_text()
    applied = roles_named_in(text)
    for role in tuple(applied):
        for tasks in (ROOT / f"roles/{role}/tasks").glob("*.yml"):
            applied |= roles_named_in(tasks.read_text())
    for imported in re.findall(r"import_playbook: (\S+)", text):
        applied |= roles_applied_by((playbook.parent / imported).resolve())
    return applied


@pytest.mark.parametrize("role", ROLES)
def test_every_role_is_tried_on_machines(role: str) -> None:
    scenario = ROOT / "molecule" / COVERED_BY.get(role, role)
    assert (scenario / "molecule.yml").is_file()
    playbooks = [scenario / "converge.yml", ROOT / "molecule/shared/create.yml"]
    assert role in set().union(*map(roles_applied_by, playbooks))


def test_the_whole_platform_is_tried_on_machines() -> None:
    applied = roles_applied_by(ROOT / "molecule/platform/converge.yml")
    # The lab makes the machines, and a load generator asks them from outside.
    assert applied == set(ROLES) - {"lab", "load_test"}


def test_no_scenario_stands_in_for_one_that_exists() -> None:
    assert [role for role in COVERED_BY if (ROOT / "molecule" / role).exists()] == []
