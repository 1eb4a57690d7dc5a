# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's documentation, its argument spec and its options as a type say the same."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.payaid.scaling.plugins.doc_fragments import (
    postgres_cluster,
    postgres_login,
    postgres_tls,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Desired
from ansible_collections.payaid.scaling.plugins.modules import postgres_replica

FACTS = ("type", "required", "default", "choices", "elements")


def documented() -> dict[str, Any]:
    """Return the module's own options, and those of the fragments."""
    fragments = (postgres_cluster, postgres_login, postgres_tls)
    texts = (postgres_replica.DOCUMENTATION, *(one.ModuleDocFragment.DOCUMENTATION for one in fragments))
    return {name: option for text in texts for name, option in yaml.safe_load(text)["options"].items()}


def test_documentation_and_argument_spec_agree() -> None:
    told = {
        name: {key: option[key] for key in FACTS if key in option} for name, option in documented().items()
    }
    spec = {
        name: {key: option[key] for key in FACTS if key in option}
        for name, option in postgres_replica.ARGUMENTS.items()
    }
    assert told == spec


def test_every_option_is_desired() -> None:
    assert {field.name for field in fields(Desired)} == set(postgres_replica.ARGUMENTS)


def test_secrets_are_not_logged() -> None:
    assert postgres_replica.ARGUMENTS["replication_password"]["no_log"] is True


def test_examples_use_only_options() -> None:
    for task in yaml.safe_load(postgres_replica.EXAMPLES):
        assert set(task["payaid.scaling.postgres_replica"]) <= set(documented())


def test_main_is_short_and_so_is_the_module() -> None:
    source = Path(postgres_replica.__file__).read_text()
    (main,) = [
        node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == "main"
    ]
    assert (main.end_lineno or 0) - main.lineno < 30
    assert len(source.splitlines()) < 300
