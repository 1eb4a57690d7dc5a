# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module from its arguments to its answer, and its page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._slo.gather import check
from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import METRICS, SOURCES
from ansible_collections.payaid.scaling.plugins.module_utils._slo.targets import DEFAULTS, FIELDS
from ansible_collections.payaid.scaling.plugins.modules import slo_check

FIXTURES = Path(__file__).parent / "fixtures"
REPORT, SUMMARY = str(FIXTURES / "artillery.json"), str(FIXTURES / "k6_summary_export.json")
PAGE = yaml.safe_load(slo_check.DOCUMENTATION)["options"]
# What the report of Artillery in the fixtures keeps.
KEPT = {"error_rate": 11, "availability": 89, "concurrent_users": 10}
REST = {"database_query_time": False, "cache_hit_rate": False}


def run(capsys: pytest.CaptureFixture[str], *, check: bool = False, **options: Any) -> dict[str, Any]:
    with patch_module_args(options | {"_ansible_check_mode": check}), pytest.raises(SystemExit) as ended:
        slo_check.main()
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert bool(ended.value.code) is bool(answer.get("failed"))
    assert "exception" not in answer or "Traceback" not in str(answer["exception"]), answer
    assert answer.get("changed", False) is False
    return answer


@pytest.mark.parametrize("check", [False, True])
def test_all_targets_are_met(capsys: pytest.CaptureFixture[str], check: bool) -> None:
    told = run(capsys, check=check, artillery_reports=[REPORT], targets=KEPT | REST)
    assert (told["passed"], told["missed"], told["unmeasured"], told["problems"]) == (True, [], [], [])
    assert [one["name"] for one in told["results"]] == ["api_response_time_p95", *KEPT]
    assert all(
        one["pass"] and one["measured"] and one["source"] == f"artillery ({REPORT})"
        for one in told["results"]
    )
    assert told["table"].splitlines()[0].startswith("TARGET")
    assert set(told["results"][0]) == set(yaml.safe_load(slo_check.RETURN)["results"]["contains"])


def test_a_target_that_is_missed_fails_with_its_value_and_bound(capsys: pytest.CaptureFixture[str]) -> None:
    told = run(capsys, artillery_reports=[REPORT], targets=KEPT | REST | {"error_rate": 5})
    assert told["msg"] == (
        f"Performance targets are missed: error_rate is 10.1 % (target < 5 %, by artillery ({REPORT}))."
    )
    assert (told["failed"], told["missed"], told["passed"]) == (True, ["error_rate"], False)
    assert len(told["results"]) == 4


def test_with_fail_false_it_only_tells(capsys: pytest.CaptureFixture[str]) -> None:
    told = run(capsys, artillery_reports=[REPORT], fail=False)
    assert told["missed"] == ["error_rate", "availability", "concurrent_users"]
    assert told["unmeasured"] == ["database_query_time", "cache_hit_rate"]
    assert told["passed"] is False


def test_silence_fails_unless_it_is_only_to_be_reported(capsys: pytest.CaptureFixture[str]) -> None:
    told = run(capsys, artillery_reports=[REPORT], targets=KEPT)
    assert told["failed"]
    assert "database_query_time was not measured, because postgres or prometheus would tell" in told["msg"]
    told = run(capsys, artillery_reports=[REPORT], targets=KEPT, unmeasured="report")
    assert not told.get("failed")
    assert (told["passed"], told["unmeasured"]) == (False, list(REST))


def test_a_file_that_is_empty_fails_though_another_source_tells(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    empty = tmp_path / "report.json"
    empty.touch()
    told = run(
        capsys,
        artillery_reports=[str(empty)],
        k6_summary=SUMMARY,
        targets=REST | {"error_rate": 20, "availability": 80, "concurrent_users": 5},
    )
    assert told["msg"] == f"a source that was given tells nothing, because {told['problems'][0]}."
    assert told["problems"][0].startswith(f"{empty}: the file is empty")
    assert all(one["pass"] for one in told["results"])


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "one of the following is required: artillery_reports, k6_summary"),
    ({"k6_summary": SUMMARY, "targets": {"speed": 3}}, "targets.speed has the metric speed"),
    ({"k6_summary": SUMMARY, "interval": -1}, "interval=-1 is no time"),
    ({"nginx_log": {"minutes": 0}}, "nginx_log.minutes=0 is no time"),
    ({"k6_summary": SUMMARY, "since": {"a": 1}}, "since is not the counters"),
    ({"redis": {"nodes": [{"host": "r"}], "login_user": "me"}}, "login_password"),
    ({"prometheus": {"url": "http://p", "login_password": "x" * 9}}, "login_user"),
    ({"k6_summary": SUMMARY, "since": {}, "interval": 3}, "mutually exclusive"),
]


@pytest.mark.parametrize(("options", "sentence"), REFUSED)
def test_options_that_make_no_sense_fail_even_where_targets_may_be_missed(
    capsys: pytest.CaptureFixture[str], options: dict[str, Any], sentence: str
) -> None:
    told = run(capsys, fail=False, unmeasured="report", **options)
    assert told["failed"]
    assert sentence in told["msg"]


SINCE: list[Any] = [
    {"redis": []},
    {"redis": {"a": 3}},
    {"redis": {"a": [1]}},
    {"redis": {"a": [1, "2"]}},
    {"redis": {"a": [True, 2]}},
    {"postgres": {"db": [1, 2]}},
    {"postgres": {"db": {"a": [1, None]}}},
    {"results": []},
]


@pytest.mark.parametrize("since", SINCE)
def test_what_is_no_counters_is_not_taken_for_any(since: Any) -> None:
    with pytest.raises(Refusal, match="since is not the counters"):
        check({"interval": None, "nginx_log": None, "since": since})


@pytest.mark.parametrize("since", [None, {}, {"redis": {"a": [1, 2]}, "postgres": {"db": {"1/2": [3, 4.5]}}}])
def test_counters_are_counters(since: Any) -> None:
    check({"interval": None, "nginx_log": None, "since": since})


def test_secrets_are_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    secrets = ("canary-of-redis", "canary-of-postgres", "canary-of-prometheus")
    nowhere = {"host": "127.0.0.1", "port": 1}
    told = run(
        capsys,
        redis={"nodes": [nowhere], "login_password": secrets[0]},
        postgres={"servers": [nowhere], "database": "d", "login_user": "u", "login_password": secrets[1]},
        prometheus={"url": "http://127.0.0.1:1", "login_user": "u", "login_password": secrets[2]},
    )
    assert len(told["problems"]) == 3
    assert not [secret for secret in secrets if secret in json.dumps(told)]


def same(page: Mapping[str, Any], arguments: Mapping[str, Any], path: str = "") -> None:
    assert set(page) == set(arguments), path
    for name, said in page.items():
        argument = arguments[name]
        for field in ("type", "elements", "required", "default", "choices"):
            assert said.get(field, None if field != "required" else False) == argument.get(
                field, None if field != "required" else False
            ), f"{path}{name}.{field}"
        same(said.get("suboptions", {}), argument.get("options", {}), f"{path}{name}.")


def test_the_page_says_what_the_arguments_are() -> None:
    same(PAGE, slo_check.ARGUMENTS)


def test_the_page_names_every_target_metric_and_field() -> None:
    told = " ".join(PAGE["targets"]["description"])
    for word in (*DEFAULTS, *METRICS):
        assert f"V({word})" in told or f"C({word})" in told, word
    for word in (*FIELDS, *SOURCES):
        assert f"C({word})" in told or f"V({word})" in told, word


def test_the_docs_tell_the_order_of_the_sources() -> None:
    """Their table has metrics in its first column, and in its last the sources in their order."""
    page = (Path(__file__).parents[3] / "docs/slo.md").read_text()
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in page.partition("## Who measures what")[2].splitlines()
        if row.startswith("| `")
    ]
    told = {metric.strip("`"): cells[-1] for (*cells,) in rows for metric in cells[0].split(", ")}
    assert told == {name: ", ".join(metric.sources) for name, metric in METRICS.items()}
