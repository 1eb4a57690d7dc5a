# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module and filter is documented as it is, and every module has a unit test."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest
import yaml

from .tree import FILTER_FILES, MODULES, ROOT, read

PLUGINS = "ansible_collections.payaid.scaling.plugins"
# The tests of a module bear its name, but for those whose code is shared under a shorter one.
TESTED_IN = {"app_release": "app", "platform_probe": "probe"}
FILTERS = {
    name: function
    for file in FILTER_FILES
    for name, function in import_module(f"{PLUGINS}.filter.{file}").FilterModule().filters().items()
}


def documentation(module: str) -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load(import_module(f"{PLUGINS}.modules.{module}").DOCUMENTATION)
    return told


@pytest.mark.parametrize("module", MODULES)
def test_every_module_is_documented(module: str) -> None:
    told = documentation(module)
    assert told["module"] == module
    for part in ("short_description", "description", "author", "version_added"):
        assert told[part], part
    code = import_module(f"{PLUGINS}.modules.{module}")
    assert yaml.safe_load(code.RETURN)
    for task in yaml.safe_load(code.EXAMPLES):
        assert f"payaid.scaling.{module}" in task, task["name"]


@pytest.mark.parametrize("module", MODULES)
def test_the_fragments_that_a_module_is_documented_with_exist(module: str) -> None:
    names = documentation(module)["extends_documentation_fragment"]
    fragments = [names] if isinstance(names, str) else names
    for fragment in fragments:
        _namespace, _name, file, *attribute = fragment.split(".")
        code = import_module(f"{PLUGINS}.doc_fragments.{file}").ModuleDocFragment
        assert yaml.safe_load(getattr(code, attribute[0].upper() if attribute else "DOCUMENTATION")), fragment
    assert [name for name in fragments if name.startswith("payaid.scaling.attributes.")]


def test_every_fragment_declares_the_attributes_that_are_described() -> None:
    code = import_module(f"{PLUGINS}.doc_fragments.attributes").ModuleDocFragment
    described = yaml.safe_load(code.DOCUMENTATION)["attributes"]
    assert all(attribute["description"] for attribute in described.values())
    for name in ("CONVERGES", "READS", "RUNS"):
        declared = yaml.safe_load(getattr(code, name))["attributes"]
        assert set(declared) == set(described), name
        assert all(attribute["support"] for attribute in declared.values()), name


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_unit_test(module: str) -> None:
    assert list((ROOT / "tests/unit" / TESTED_IN.get(module, module)).glob("test_*.py"))


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_is_documented_as_it_is(name: str) -> None:
    page = read(f"plugins/filter/{name}.yml")
    told = page["DOCUMENTATION"]
    assert told["name"] == name
    assert told["short_description"]
    assert told["description"]
    assert page["RETURN"]["_value"]["description"]
    for task in yaml.safe_load(page["EXAMPLES"]):
        assert f"payaid.scaling.{name}" in str(task), task["name"]
    _input, *parameters = inspect.signature(FILTERS[name]).parameters.values()
    empty = inspect.Parameter.empty
    expected: dict[str, Any] = {"_input": empty} | {one.name: one.default for one in parameters}
    assert {option: spec.get("default", empty) for option, spec in told["options"].items()} == expected
    for option, spec in told["options"].items():
        assert spec["description"], option
        assert spec.get("required", False) == (expected[option] is empty), option
    positional = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert told.get("positional", "").split(", ") == (positional or [""])


def test_every_page_is_of_a_filter() -> None:
    assert {path.stem for path in (ROOT / "plugins/filter").glob("*.yml")} == set(FILTERS)
