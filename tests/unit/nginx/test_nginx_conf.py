# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of nginx, as the role writes it for settings that leave parts of it empty."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ..collection.tree import ROOT

ROLE = ROOT / "roles/nginx"
NO_LIMITS = {
    "nginx_limit_address_rate": 0,
    "nginx_limit_tenant_rate": 0,
    "nginx_limit_address_connections": 0,
}


def conf(**settings: Any) -> str:
    """Return nginx.conf by the template engine of Ansible."""
    text = (ROLE / "templates/nginx.conf.j2").read_text()
    variables = {
        # What the role computes of its own: names of files and the like.
        **dict.fromkeys(re.findall(r"__nginx_\w+", text), "computed"),
        **yaml.safe_load((ROLE / "defaults/main.yml").read_text()),
        **yaml.safe_load((ROLE / "vars/debian-13.yml").read_text()),
        "__nginx_ocsp_uri": "",
        "ansible_managed": "Ansible managed",
        **settings,
    }
    loader = DataLoader()  # type: ignore[no-untyped-call]
    templar = Templar(loader=loader, variables=variables).copy_with_new_env(
        searchpath=[str(ROLE / "templates")]
    )
    source = trust_as_template(text)
    overrides = {"trim_blocks": True, "lstrip_blocks": False}
    return str(templar.template(source, escape_backslashes=False, overrides=overrides))


@pytest.mark.parametrize("redirect", [True, False])
@pytest.mark.parametrize(
    ("settings", "absent"),
    [
        ({"nginx_hsts_max_age": 0}, "Strict-Transport-Security"),
        (NO_LIMITS, "limit_req zone"),
        ({"nginx_hsts_max_age": 0, **NO_LIMITS}, "limit_req zone"),
    ],
)
def test_what_is_switched_off_is_left_out(settings: dict[str, Any], absent: str, *, redirect: bool) -> None:
    text = conf(nginx_https_redirect=redirect, **settings)
    assert absent not in text
    assert "None" not in text
    assert text.count("proxy_pass http://app;") >= 2
    assert ("return 308 https" in text) is redirect


def test_by_default_it_is_there() -> None:
    text = conf()
    assert "Strict-Transport-Security" in text
    assert "limit_req zone=address" in text
