"""Figures for the Hub's metrics page; ``docs/reference/metrics.md`` tells what each means.

The spawner publishes them, once, with what JupyterHub's own are made of. Before that, and so in
every script, a figure goes nowhere and costs a look whether it is published.

Every label has a few values that are known beforehand. None is ever a user's, a server's or an
image's name, which would make a series of its own for each.
"""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_ENDS = ("success", "failure")
_SHORT = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_LONG = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)
_STAGES = {10: "wake", 20: "image", 50: "create", 70: "start", 80: "answer", 90: "health"}
"""By the percentage with which each begins."""


@dataclass
class Metric:
    """A figure: a histogram of seconds if it has buckets, else a counter."""

    name: str
    text: str
    labels: Mapping[str, Sequence[str]]
    """Of each label, all its values."""
    buckets: Sequence[float] = ()
    """Upper bounds in seconds."""
    published: Any = None
    """What counts, once it is on the page."""

    def publish(self) -> None:
        """Put it on the metrics page, with a zero for each of its series."""
        from prometheus_client import Counter, Histogram  # noqa: PLC0415, scripts need none

        if self.buckets:
            self.published = Histogram(
                self.name, self.text, list(self.labels), buckets=self.buckets
            )
        else:
            self.published = Counter(self.name, self.text, list(self.labels))
        if self.labels:
            for values in itertools.product(*self.labels.values()):
                self.published.labels(*values)

    def _series(self, labels: dict[str, str]) -> Any:
        return self.published.labels(**labels) if labels else self.published

    def add(self, count: int = 1, **labels: str) -> None:
        """Count so many more. From any thread."""
        if self.published:
            self._series(labels).inc(count)

    def observe(self, seconds: float, **labels: str) -> None:
        """Take a duration into a histogram. From any thread."""
        if self.published:
            self._series(labels).observe(seconds)

    @contextmanager
    def timed(self, **labels: str) -> Iterator[None]:
        """Observe how long what is inside takes, with its end as the label ``status``."""
        began, status = time.monotonic(), "failure"
        try:
            yield
            status = "success"
        finally:
            self.observe(time.monotonic() - began, status=status, **labels)


STAGES = Metric(
    "podmanspawner_start_stage_duration_seconds",
    "Duration of each stage of a server's start; a failed start fails in its last stage",
    {"stage": tuple(_STAGES.values()), "status": _ENDS},
    _SHORT,
)
PULLS = Metric(
    "podmanspawner_image_pull_duration_seconds",
    "Duration of getting an image that is not there, or may be a newer one",
    {"source": ("registry", "host"), "status": _ENDS},
    _LONG,
)
ANSWERS = Metric(
    "podmanspawner_service_answer_duration_seconds",
    "Time until an account's Podman service, asleep or awake, answered its first question",
    {"status": _ENDS},
    _SHORT,
)
WAKEUPS = Metric(
    "podmanspawner_service_wakeups_total",
    "Podman services that were started, or whose socket was",
    {"activation": ("direct", "systemd")},
)
DEATHS = Metric(
    "podmanspawner_server_deaths_total",
    "Servers that ended without having been stopped",
    {"cause": ("exit", "error", "out_of_memory", "lost_port", "missed", "gone")},
)
MEMORY_KILLS = Metric(
    "podmanspawner_server_memory_kills_total",
    "Processes of servers, such as kernels, that were killed for lack of memory",
    {},
)
REFUSED = Metric(
    "podmanspawner_refused_answers_total",
    "Answers of accounts' Podman services that were not believed",
    {"reason": ("peer", "size", "deadline", "protocol")},
)
ORPHANS = Metric(
    "podmanspawner_orphans_total",
    "Containers found that no server of the Hub owns",
    {"result": ("removed", "stopped", "left", "failed")},
)
ALL = (STAGES, PULLS, ANSWERS, WAKEUPS, DEATHS, MEMORY_KILLS, REFUSED, ORPHANS)


def publish() -> None:
    """Put all of them on the page of this process, once."""
    for metric in ALL:
        if metric.published is None:
            metric.publish()


class StageClock:
    """Observes the stages of one server's starts."""

    def __init__(self) -> None:
        self._stage, self._began = "", 0.0

    def enter(self, percent: int) -> None:
        """Take note of how far the start is; with the next stage the one before has succeeded."""
        stage = _STAGES[max((begin for begin in _STAGES if begin <= percent), default=10)]
        if stage != self._stage:
            self.leave("success")
            self._stage, self._began = stage, time.monotonic()

    def leave(self, status: str) -> None:
        """End the start in the stage where it is."""
        if self._stage:
            STAGES.observe(time.monotonic() - self._began, stage=self._stage, status=status)
        self._stage = ""
