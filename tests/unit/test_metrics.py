"""The figures: what scripts get, what the page of the Hub gets, and what is written of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import prometheus_client
import pytest

from podmanspawner import PodmanSpawner, metrics
from podmanspawner.metrics import Metric, StageClock

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs/reference/metrics.md").read_text()
DASHBOARD = json.loads((TOP / "examples/metrics/dashboard.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
FUNCTIONS = {"sum", "rate", "increase", "histogram_quantile"}


def read(sample, **labels):
    """Return a figure of this process, as its metrics page would have it."""
    return prometheus_client.REGISTRY.get_sample_value(sample, labels)


def names_on_the_page():
    import jupyterhub.metrics  # noqa: F401, PLC0415, published by its import

    assert PodmanSpawner
    return {
        sample.name for family in prometheus_client.REGISTRY.collect() for sample in family.samples
    }


def test_before_it_is_published_a_figure_goes_nowhere():
    metric = Metric("podmanspawner_a_total", "a", {"cause": ("b",)})
    metric.add(cause="b")
    metric.observe(1.0, cause="b")
    with metric.timed(cause="b"):
        pass
    assert metric.published is None


def test_a_second_publication_is_none():
    assert PodmanSpawner
    before = [metric.published for metric in metrics.ALL]
    metrics.publish()
    assert [metric.published for metric in metrics.ALL] == before
    assert None not in before


def test_what_is_timed_has_its_end_as_a_label():
    sample = f"{metrics.ANSWERS.name}_count"
    before = {status: read(sample, status=status) for status in ("success", "failure")}
    with metrics.ANSWERS.timed():
        pass
    with pytest.raises(ZeroDivisionError), metrics.ANSWERS.timed():
        raise ZeroDivisionError
    assert {status: read(sample, status=status) for status in before} == {
        status: count + 1 for status, count in before.items()
    }


def stages():
    sample = f"{metrics.STAGES.name}_count"
    return {
        (stage, status): read(sample, stage=stage, status=status)
        for stage in metrics.STAGES.labels["stage"]
        for status in metrics.STAGES.labels["status"]
    }


@pytest.mark.parametrize(
    ("percentages", "end", "told"),
    [
        ([], "failure", []),
        ([10], "failure", [("wake", "failure")]),
        ([10, 20, 35, 49], "failure", [("wake", "success"), ("image", "failure")]),
        (
            [10, 20, 50, 70, 50, 70, 80],  # another process took the port
            "success",
            [
                *[("wake", "success"), ("image", "success"), ("answer", "success")],
                *[("create", "success"), ("start", "success")] * 2,
            ],
        ),
        ([80, 90], "success", [("answer", "success"), ("health", "success")]),
    ],
)
def test_each_stage_is_told_once(percentages, end, told):
    clock, before = StageClock(), stages()
    for percent in percentages:
        clock.enter(percent)
    clock.leave(end)
    clock.leave("failure")  # it is over
    after = stages()
    assert {key: after[key] - before[key] for key in after if after[key] != before[key]} == {
        key: told.count(key) for key in told
    }


@pytest.mark.parametrize("metric", metrics.ALL, ids=lambda metric: metric.name)
def test_names_are_as_prometheus_wants_them(metric):
    assert re.fullmatch(r"podmanspawner_[a-z_]+", metric.name)
    assert metric.name.endswith("_seconds" if metric.buckets else "_total")
    assert list(metric.buckets) == sorted(metric.buckets)
    kind = "histogram" if metric.buckets else "counter"
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| [`{metric.name}`]"))
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    assert [cell.strip() for cell in row.split("|")[2:4]] == [kind, labels]
    assert all(f"`{text}`" in PAGE for values in metric.labels.values() for text in values)


def test_the_page_tells_of_none_that_is_not():
    written = set(re.findall(r"podmanspawner_\w+", PAGE))
    assert written == {metric.name for metric in metrics.ALL}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_dashboard_asks_for_what_there_is(expression):
    bare = re.sub(r'\{[^}]*\}|\[[^\]]*\]|\bby \([^)]*\)|"[^"]*"', " ", expression)
    names = set(re.findall(r"[a-z_]\w*", bare)) - FUNCTIONS
    assert names
    assert names <= names_on_the_page()


def test_the_dashboard_shows_everything():
    text = " ".join(EXPRESSIONS)
    assert not [metric.name for metric in metrics.ALL if metric.name not in text]
    labels = {label for metric in metrics.ALL for label in metric.labels} | {"le"}
    for names in re.findall(r"\bby \(([^)]*)\)", text):
        assert set(names.split(", ")) <= labels
    for selector in re.findall(r"\{([^}]*)\}", text):
        label, given = re.fullmatch(r'(\w+)="(\w+)"', selector).groups()
        assert any(given in metric.labels.get(label, ()) for metric in metrics.ALL)
