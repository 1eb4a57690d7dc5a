# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of archives that are really packed, of versions, and in which order nodes change."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.filter.release import (
    nodejs_satisfies,
    release_archive,
    release_outcome,
    release_rollout,
)
from hypothesis import given
from hypothesis import strategies as st

REQUIRES = ["server.js", ".next/BUILD_ID", ".next/static"]
WHOLE = {"server.js": "", ".next/BUILD_ID": "x", ".next/static/chunks/1.js": ""}
PACKAGE = '{"version": "16.4.5", "engines": {"node": ">=20.9.0"}}'
CONFIG = '{"version": 1, "config": {"assetPrefix": "https://cdn.example.org", "output": "standalone"}}'


def pack(folder: Path, files: dict[str, str], mode: str = "w:gz") -> str:
    path = folder / "app.tar.gz"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # the mode is a parameter here
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            archive.addfile(member, io.BytesIO(content.encode()))
    return str(path)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("before", ["", "./"])
def test_a_whole_release(tmp_path: Path, mode: str, before: str) -> None:
    files = {f"{before}{name}": content for name, content in WHOLE.items()}
    files[f"{before}node_modules/next/package.json"] = PACKAGE
    files[f"{before}.next/required-server-files.json"] = CONFIG
    assert release_archive(pack(tmp_path, files, mode), REQUIRES) == {
        "problems": [],
        "nextjs": "16.4.5",
        "nodejs": ">=20.9.0",
        "asset_prefix": "https://cdn.example.org",
    }


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"app-1/" + name: text for name, text in WHOLE.items()},
            "everything in the folder app-1: pack what",
        ),
        ({"server.js": "", ".next/BUILD_ID": ""}, "has no .next/static: pack"),
        ({".next/static/1.js": ""}, "has no server.js, no .next/BUILD_ID: pack"),
        ({}, "has no server.js, no .next/BUILD_ID, no .next/static: pack"),
        ({**WHOLE, "../evil": ""}, "has ../evil, which lies outside"),
        ({**WHOLE, "/etc/evil": ""}, "has /etc/evil, which lies outside"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, files: dict[str, str], said: str) -> None:
    path = pack(tmp_path, files)
    (problem,) = release_archive(path, REQUIRES)["problems"]
    assert problem.startswith(f"{path} has ")
    assert said in problem


def test_what_is_no_archive_or_half_of_one_is_said(tmp_path: Path) -> None:
    page = tmp_path / "app.tar.gz"
    page.write_text("<html>not found</html>")
    (problem,) = release_archive(str(page), REQUIRES)["problems"]
    assert "is no tar archive" in problem
    path = Path(pack(tmp_path, {**WHOLE, "big": "".join(map(str, range(20000)))}))
    path.write_bytes(path.read_bytes()[:5000])
    (problem,) = release_archive(str(path), REQUIRES)["problems"]
    assert "is no tar archive" in problem


@pytest.mark.parametrize("told", ["", "{", "{}"])
def test_a_build_that_does_not_say_what_it_needs_may_have_anything(tmp_path: Path, told: str) -> None:
    files = {"a/node_modules/next/package.json": told, ".next/required-server-files.json": told}
    found = release_archive(pack(tmp_path, {**WHOLE, **files}), REQUIRES)
    assert found == {"problems": [], "nextjs": "", "nodejs": "", "asset_prefix": ""}


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("20.19.2", ">=20.9.0", True),
        ("v20.19.2", ">=20.9.0", True),
        ("18.20.4", ">=20.9.0", False),
        ("20.8.1", ">=20.9.0", False),
        ("18.20.4", "^18.18.0 || ^19.8.0 || >= 20.0.0", True),
        ("19.0.0", "^18.18.0 || ^19.8.0 || >= 20.0.0", False),
        ("24.1.0", "^18.18.0 || ^19.8.0 || >= 20.0.0", True),
        ("20.19.2", ">=18 <21", True),
        ("22.0.0", ">=18 <21", False),
        ("20.19.2", "20", True),
        ("22.1.0", "20.x", False),
        ("20.19.2", "20.x", True),
        ("20.19.2", "~20.18.0", False),
        ("20.18.9", "~20.18.0", True),
        ("20.19", ">=20.9.0", True),
        ("20.19.2", "", True),
        ("20.19.2", "*", True),
    ],
)
def test_versions(version: str, wanted: str, fits: bool) -> None:
    assert nodejs_satisfies(version, wanted) is fits


def node(before: str, *, serves: bool = True, is_to: bool = True, changes: bool = True) -> dict[str, Any]:
    """Return what is registered on a node: what it serves, and whether it did and is to."""

    def state(folder: str, enabled: bool) -> dict[str, Any]:
        # What has just died is enabled all the same.
        return {"current": folder, "processes": [{"port": 3000, "active": False, "enabled": enabled}]}

    return {
        "__app_node_foretold": {
            "actions": ["Point current at /r/2."] if changes else [],
            "before": state(before, serves),
            "after": state("/r/2" if is_to else before, is_to),
        }
    }


FLEET: dict[str, dict[str, Any]] = {
    "app1": node("/r/1"),
    "app2": node("/r/2", changes=False),
    "app3": node("/r/1", is_to=False),
    "app4": node("", serves=False),
    "app5": node("/r/0", serves=False, is_to=False, changes=False),
    "app6": node("/r/1"),
}


def test_first_come_those_that_start_and_last_those_that_stop() -> None:
    rollout = release_rollout(list(FLEET), FLEET)
    assert rollout["order"] == ["app4", "app1", "app6", "app3"]
    assert rollout["served"] == ["app1", "app2", "app3", "app6"]
    assert rollout["fresh"] == ["app4", "app5"]
    assert rollout["idle"] == ["app3", "app5"]


def test_everybody_goes_back_to_what_it_served() -> None:
    back = release_rollout(list(FLEET), FLEET)["back"]
    # The second was switched by a run that was killed.
    assert back == {"app1": "/r/1", "app2": "/r/1", "app3": "/r/1", "app4": "", "app5": "", "app6": "/r/1"}
    mixed = FLEET | {"app6": node("/r/0")}
    assert release_rollout(list(mixed), mixed)["back"]["app2"] == ""


@given(
    st.lists(
        st.builds(
            node,
            st.sampled_from(["", "/r/1", "/r/2"]),
            serves=st.booleans(),
            is_to=st.booleans(),
            changes=st.booleans(),
        ),
        max_size=6,
    )
)
def test_every_node_that_changes_is_in_the_order_once(nodes: list[dict[str, Any]]) -> None:
    fleet = {f"app{number}": values for number, values in enumerate(nodes)}
    rollout = release_rollout(list(fleet), fleet)
    changing = [host for host, values in fleet.items() if values["__app_node_foretold"]["actions"]]
    assert sorted(rollout["order"]) == sorted(changing)
    assert sorted(rollout["served"] + rollout["fresh"]) == sorted(fleet)
    assert not {host for host, folder in rollout["back"].items() if folder} & set(rollout["fresh"])


ONE = {"app1": node("/r/1"), "app2": node("/r/1")}
NEW = {"app1": node("", serves=False), "app2": node("", serves=False)}


@pytest.mark.parametrize(
    ("fleet", "bad", "said"),
    [
        (ONE, [], "All nodes serve 1 again."),
        (ONE, ["app2"], "Without requests, because what they serve is not known: app2. The others serve 1."),
        (ONE | {"app3": node("", serves=False)}, [], "All nodes serve 1 again. Stopped again: app3."),
        # Nothing but one more node was to come.
        (
            {"app1": node("/r/2", changes=False), "app3": node("", serves=False)},
            [],
            "All nodes serve 2 again. Stopped again: app3.",
        ),
        (NEW, [], "Stopped again: app1, app2."),
        (
            NEW,
            ["app1"],
            "Without requests, because what they serve is not known: app1. The others serve nothing yet. "
            "Stopped again: app2.",
        ),
    ],
)
def test_what_is_said_at_the_end(fleet: dict[str, Any], bad: list[str], said: str) -> None:
    assert release_outcome(list(fleet), fleet, bad) == said
