"""What tests measure: shown at the end of a run, and kept for a page of the documentation."""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone

import pytest

import held


class Figures:
    """A plugin of pytest; of workers, the one who hears them all has the whole."""

    def __init__(self) -> None:
        self._item = None
        self._functions: dict[str, dict] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        self._item = item

    def tell(self, figure: str) -> None:
        """Take a figure that the test of this moment, or what was set up for it, has measured."""
        self._item.user_properties.append(("measured", figure))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item, call):
        """Take the number of inputs that hypothesis has tried."""
        said = getattr(item, "hypothesis_statistics", "")
        if call.when == "call" and said:
            tried = sum(map(int, re.findall(r"(\d+) (?:passing|failing)", said)))
            item.user_properties.append(("inputs", tried))

    def pytest_runtest_logreport(self, report):
        name = report.nodeid.partition("[")[0]
        empty = {"passed": 0, "failed": 0, "inputs": 0, "measured": []}
        function = self._functions.setdefault(name, empty)
        function["failed"] += report.failed
        function["passed"] += report.passed and report.when == "call"
        if report.when == "teardown":
            properties = report.user_properties
            function["measured"] += [value for key, value in properties if key == "measured"]
            function["inputs"] += sum(value for key, value in properties if key == "inputs")

    def pytest_terminal_summary(self, terminalreporter):
        if figures := [
            one for function in self._functions.values() for one in function["measured"]
        ]:
            terminalreporter.section("measured")
            for figure in figures:
                terminalreporter.write_line(figure)
        if "PODMANSPAWNER_FIGURES" in os.environ:
            today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
            held.take({name: {"date": today, **one} for name, one in self._functions.items()})
