# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a run as a browser gets it: well formed, complete, and in need of nothing else."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.payaid.scaling.plugins.filter.load_test import load_test_page
from hypothesis import given, settings
from hypothesis import strategies as st

from .rendering import TEMPLATES, rendered, tree, words
from .runs import bare, bucket, earlier, slo, target, whole

ELSEWHERE = re.compile(r"\bsrc=|@import|url\(|<script|<link|<iframe|<img|\bon\w+=", re.IGNORECASE)
PLACES = {"href", "src", "action", "data", "style", "srcset", "poster", "cite", "background"}
# Each is a part that nobody may have measured.
PARTS: tuple[tuple[str, ...], ...] = (
    ("about",),
    ("generators",),
    ("by",),
    ("commit",),
    ("week",),
    ("totals",),
    ("totals", "requests"),
    ("totals", "failed"),
    ("slo", "results"),
    ("slo", "problems"),
    ("edge",),
    ("edge", "step"),
    ("edge", "buckets"),
    ("edge", "upstreams"),
    ("edge", "errors"),
    ("edge", "codes"),
    ("evidence",),
    ("evidence", "app_nodes"),
    ("evidence", "generators"),
    ("evidence", "pools"),
    ("evidence", "replicas"),
    ("evidence", "redis"),
    ("evidence", "redis", "rate"),
    ("evidence", "redis", "masters"),
    ("evidence", "database"),
    ("evidence", "database", "worst"),
    ("findings",),
    ("tried",),
    ("cost",),
    ("cost", "text"),
    ("cost", "low"),
)


def headings(page: ElementTree.Element) -> list[str]:
    return [words(one) for one in page.iter("h2")]


def table_of(page: ElementTree.Element, name: str) -> list[list[str]]:
    """Return the body of the table in the section with a name."""
    section = page.find(f".//section[@aria-labelledby='{name}']")
    assert section is not None, name
    return [[words(cell) for cell in row] for row in section.findall(".//tbody/tr")]


def without(run: dict[str, Any], path: tuple[str, ...], value: Any = None) -> dict[str, Any]:
    """Return a run without a part, or with something empty in its place."""
    changed = copy.deepcopy(run)
    within = changed
    for name in path[:-1]:
        within = within.get(name) or {}
    if value is None:
        within.pop(path[-1], None)
    elif path[-1] in within:
        within[path[-1]] = value
    return changed


def assert_sound(text: str) -> ElementTree.Element:
    """Hold a page against what every page has to be."""
    page = tree(text)
    assert page.get("lang") == "en"
    identities = [one.get("id") for one in page.iter() if one.get("id")]
    assert len(identities) == len(set(identities))
    for one in page.iter():
        assert one.tag not in {"script", "link", "img", "iframe", "object", "embed", "use", "image"}
        for name, value in one.attrib.items():
            assert not name.startswith("on")
            if name in PLACES:
                assert re.fullmatch(r"width: [\d.]+%", value), (name, value)
    for style in page.iter("style"):
        assert not ELSEWHERE.search(words(style))
    for chart in page.iter("svg"):
        assert chart.get("role") == "img"
        title = chart.find("title")
        assert title is not None
        assert title.get("id") == chart.get("aria-labelledby")
        assert len(words(title)) > 20
        assert all(re.fullmatch(r"[MLZ\d. ]*", one.get("d", "x")) for one in chart.iter("path"))
    for table in page.iter("table"):
        heads = table.findall("thead/tr/th")
        assert [head.get("scope") for head in heads] == ["col"] * len(heads)
        assert all(len(row) == len(heads) for row in table.findall("tbody/tr"))
        assert all(row.find("th") is not None for row in table.findall("tbody/tr"))
        assert table.findall("tbody/tr")
    assert all(one.get("aria-labelledby") in identities for one in page.iter("section"))
    return page


def test_everything_is_on_the_page_of_a_run_that_measured_everything() -> None:
    page = assert_sound(rendered(whole(), earlier()))
    told = load_test_page(whole(), earlier())
    assert words(page.find(".//h1")) == "API requests"
    assert words(page.find(".//p[@class='verdict']")) == (
        "missed 1 of 6 targets is missed: error_rate (0.24 %, wanted < 0.1 %); not measured: availability."
    )
    assert headings(page) == [
        "Targets",
        "What limits the platform",
        "Beside the run before",
        "Over time",
        "Nodes and answers",
        "Machines",
        "Settings that were tried",
    ]
    assert len(list(page.iter("svg"))) == 3
    assert [row[:4] for row in table_of(page, "targets")] == [
        [one["name"], one["shown"], one["wanted"], one["verdict"]["word"]] for one in told["targets"]
    ]
    assert [row[0] for row in table_of(page, "comparison")] == [
        row["what"] for row in told["comparison"]["rows"]
    ]
    assert table_of(page, "charts") == [
        [row["at"], row["rate"], row["failed"], row["limited"], *row["times"]]
        for row in told["charts"]["rows"]
    ]
    for table in (*told["edge"], *told["machines"]):
        assert table_of(page, table["name"]) == [[row["name"], *row["cells"]] for row in table["rows"]]
    finding = words(page.find(".//div[@class='finding']"))
    assert finding == (
        "app cpu app2 used 94 % of its cores. Add an app node (app_nodes_active), or processes "
        "(platform_app_ports). Variable: platform_app_ports"
    )
    text = words(page.find("body"))
    for said in ("https://192.0.2.10", "gen1, gen2", "root@controller", "1b62f14", "6:01", "₹30K-60K"):
        assert said in text
    bars = [one[0].get("style") for one in page.iter("span") if one.get("class") == "bar"]
    assert bars[:3] == ["width: 33.5%", "width: 33.2%", "width: 33.3%"]


def test_on_a_phone_the_cells_bear_the_names_of_their_columns() -> None:
    page = tree(rendered(whole(), earlier()))
    found = {}
    for table in page.iter("table"):
        heads = [words(head) for head in table.findall("thead/tr/th")]
        for row in table.findall("tbody/tr"):
            for head, cell in zip(heads, row, strict=True):
                if cell.get("data-label"):
                    found[head] = cell.get("data-label")
    assert {"Wanted", "Before", "Now", "Requests", "Failed", "Mean wait"} <= set(found)
    assert all(label == head[0].lower() + head[1:] for head, label in found.items())


def test_a_run_that_measured_nothing_says_so() -> None:
    page = assert_sound(rendered(bare()))
    assert headings(page) == ["Beside the run before", "What nobody measured"]
    text = words(page.find("body"))
    assert "No targets were held against this run." in text
    assert "No limit was found." not in text
    assert "There is no earlier run of this scenario." in text
    assert "What the clients counted; what limits the platform; " in text
    for tag in ("svg", "table", "details"):
        assert not list(page.iter(tag))
    assert page.find(".//dl[@class='tiles']") is None


@pytest.mark.parametrize(
    "buckets",
    [
        [],
        [bucket(0)],
        [bucket(at, 0) for at in range(0, 60, 5)],
        [bucket(at, 500, failed=500) for at in range(0, 60, 5)],
        [bucket(at) for at in range(0, 20000, 5)],
    ],
    ids=["none", "one", "no requests", "all failed", "hours"],
)
def test_pages_of_odd_runs_are_sound(buckets: list[dict[str, Any]]) -> None:
    text = rendered(whole(edge={"step": 5, "buckets": buckets}))
    page = assert_sound(text)
    assert bool(list(page.iter("svg"))) is bool(buckets)
    assert len(text) < 200000


@settings(max_examples=30)
@given(st.sets(st.sampled_from(PARTS)), st.sampled_from([None, {}, [], ""]))
def test_any_part_may_be_missing_or_empty(missing: set[tuple[str, ...]], value: Any) -> None:
    run, before = whole(), earlier()
    for path in missing:
        run = without(run, path, value)
    assert_sound(rendered(run, before))
    assert_sound(rendered(before, run))


def _strings(value: Any, put: str) -> Any:
    """Return something with a text in every place that has one."""
    if isinstance(value, str):
        return put
    if isinstance(value, dict):
        return {key: _strings(one, put) for key, one in value.items()}
    return [_strings(one, put) for one in value] if isinstance(value, list) else value


@settings(max_examples=30)
@given(st.text())
def test_any_text_may_stand_anywhere(text: str) -> None:
    put = _strings(whole(), text)
    page = assert_sound(rendered(put, put | {"began": "before"}))
    assert headings(page)[0] == "Targets"


def test_marks_are_text() -> None:
    marks = "<b onclick='x'>&amp; \"it\" ]]> {{ 7 * 7 }} {% raw %} \x00\x1b[31m\ud800"
    shown = "<b onclick='x'>&amp; \"it\" ]]> {{ 7 * 7 }} {% raw %} \ufffd\ufffd[31m\ufffd"
    page = assert_sound(rendered(_strings(whole(), marks), _strings(whole(), marks) | {"began": "before"}))
    assert words(page.find(".//h1")) == shown
    assert [row[0] for row in table_of(page, "errors")] == [shown] * 2
    assert [row[0] for row in table_of(page, "database")][1:] == [shown] * 2
    assert not list(page.iter("b"))
    keys = assert_sound(rendered(bare(edge={"codes": {"<2>": 5, "4&": 1}})))
    assert [row[0] for row in table_of(keys, "codes")] == ["4&", "<2>"]


def test_no_limit_was_found() -> None:
    page = assert_sound(rendered(bare(findings=[])))
    section = page.find(".//section[@aria-labelledby='findings']")
    assert words(section) == "What limits the platform No limit was found."


def test_problems_of_sources_are_listed() -> None:
    problem = "gen1.json: the file is empty"
    found = slo(target("p95", "latency_p95", "< 200 ms", 5), problems=(problem,))
    page = assert_sound(rendered(bare(slo=found)))
    assert [words(one) for one in page.findall("body/main/header/ul/li")] == [problem]


def test_the_page_is_for_light_and_dark_screens_wide_and_narrow_and_for_paper() -> None:
    text = rendered(bare())
    for needed in (
        "prefers-color-scheme: dark",
        "@media print",
        "width=device-width",
        'charset="utf-8"',
        "max-width: 760px",
    ):
        assert needed in text


def _colours(text: str) -> Iterator[dict[str, str]]:
    """Yield the colours for light and for dark screens."""
    light: dict[str, str] = {}
    dark: dict[str, str] = {}
    for scheme, body in re.findall(r"(@media [^{]*\{\s*)?:root \{([^}]*)\}", text):
        found = dict(re.findall(r"--([\w-]+): (#\w+);", body))
        if "dark" in scheme:
            dark |= found
        elif not scheme:
            light |= found
    yield light
    yield light | dark


def _luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as the accessibility guidelines reckon it."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrasts() -> None:
    assert contrast("#fff", "#000000") == pytest.approx(21)
    text = (TEMPLATES / "page.css.j2").read_text(encoding="utf-8")
    own = (TEMPLATES / "load-test.html.j2").read_text(encoding="utf-8")
    schemes = list(_colours(text + own))
    assert schemes[0]["card"] != schemes[1]["card"]
    for colours in schemes:
        for back in ("back", "card"):
            for words_in in ("text", "soft", "accent"):
                assert contrast(colours[words_in], colours[back]) >= 4.5, (words_in, back)
        for badge in ("good", "fair", "poor"):
            assert contrast(colours[badge], colours[f"{badge}-back"]) >= 4.5, badge
        # All that a line or a bar is drawn in.
        drawn = set(re.findall(r"(?:fill|stroke|background): var\(--(\w+)\)", own)) - {"card", "rule"}
        assert {"amber", "app_nodes", "poor", "redis_nodes"} <= drawn
        for line in drawn:
            assert contrast(colours[line], colours["card"]) >= 3, line
