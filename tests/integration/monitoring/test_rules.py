# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alerts of the role monitoring, by Prometheus's own checker: what they say of which series, and when."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.payaid.scaling.plugins.module_utils._slo.prometheus import QUERIES
from jinja2 import Environment

from ..modules import ROOT

ROLE = ROOT / "roles/monitoring"
HERE = Path(__file__).parent


def variables() -> dict[str, Any]:
    """Return what the role takes where nothing is said."""
    return {
        name: value
        for file in ("defaults", "vars")
        for name, value in yaml.safe_load((ROLE / file / "main.yml").read_text()).items()
    }


def promtool(*words: str, where: Path) -> str:
    """Return what promtool says, which has to be good."""
    binary = shutil.which("promtool")
    assert binary, "promtool is missing: run tests/install_servers"
    done = subprocess.run(  # noqa: S603  # our own words
        [binary, *words], cwd=where, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """Write the rules as a machine has them."""
    engine = Environment(trim_blocks=True, keep_trailing_newline=True, autoescape=False)  # noqa: S701  # no HTML
    engine.filters["comment"] = "# {}".format
    template = engine.from_string((ROLE / "templates/slo.yml.j2").read_text())
    (tmp_path / "slo.yml").write_text(template.render(variables() | {"ansible_managed": "managed"}))
    shutil.copy(ROLE / "files/causes.yml", tmp_path)
    shutil.copy(HERE / "rules_test.yml", tmp_path)
    return tmp_path


def test_prometheus_takes_them(rules: Path) -> None:
    for name, count in (("slo.yml", 24), ("causes.yml", 13)):
        assert f"SUCCESS: {count} rules found" in promtool("check", "rules", name, where=rules)


def test_they_say_what_they_are_to(rules: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yml", where=rules)


def test_a_figure_that_is_another_one_is_seen(rules: Path) -> None:
    """The test of the rules can fail."""
    causes = rules / "causes.yml"
    causes.write_text(causes.read_text().replace("< 0.15", "< 0.12"))
    with pytest.raises(AssertionError, match="DiskFull"):
        promtool("test", "rules", "rules_test.yml", where=rules)


def test_requests_of_users_are_those_of_the_module(rules: Path) -> None:
    """What an alert counts as a request is what the targets are held against."""
    (selector,) = set(re.findall(r"_count\{(route=[^}]*\"429\")\}", QUERIES["error_rate"]))
    assert variables()["__monitoring_of_users"] == selector
    assert f"{{{selector}}}" in (rules / "slo.yml").read_text()


def test_every_alert_says_what_to_do(rules: Path) -> None:
    for name in ("slo.yml", "causes.yml"):
        for group in yaml.safe_load((rules / name).read_text())["groups"]:
            for rule in (one for one in group["rules"] if "alert" in one):
                assert rule["labels"]["severity"] in {"page", "ticket"}, rule
                summary = rule["annotations"]["summary"]
                assert ": " in summary, rule
                assert summary.endswith("."), rule
