# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page as ansible.builtin.template makes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.payaid.scaling.plugins.filter.load_test import load_test_page

TEMPLATES = Path(__file__).resolve().parents[3] / "playbooks/templates"
DOCTYPE = "<!DOCTYPE html>\n"


def rendered(run: Any, previous: Any = None) -> str:
    """Return the page of a run by the template engine of Ansible, with the settings of its module."""
    variables = {"page": load_test_page(run, previous or {})}
    loader = DataLoader()  # type: ignore[no-untyped-call]
    templar = Templar(loader=loader, variables=variables).copy_with_new_env(searchpath=[str(TEMPLATES)])
    source = trust_as_template((TEMPLATES / "load-test.html.j2").read_text(encoding="utf-8"))
    overrides = {"trim_blocks": True, "lstrip_blocks": False}
    return str(templar.template(source, escape_backslashes=False, overrides=overrides))


def tree(text: str) -> ElementTree.Element:
    """Return the page as a tree, which it only is when it is well formed."""
    assert text.startswith(DOCTYPE)
    return ElementTree.fromstring(text.removeprefix(DOCTYPE))  # noqa: S314  # made a moment ago


def words(element: ElementTree.Element | None) -> str:
    assert element is not None
    return " ".join("".join(element.itertext()).split())
