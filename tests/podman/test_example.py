"""The example scripts, run as the documentation says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from accounts import TINY_JOVYAN

SCRIPTING = Path(__file__).parents[2] / "examples" / "scripting"


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, SCRIPTING / script, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_example_is_run_here():
    assert {file.name for file in SCRIPTING.glob("*.py")} == {
        "batch_job.py",
        "parameter_sweep.py",
    }


def test_a_batch_job(ada):
    ada.load(TINY_JOVYAN)
    done = run("batch_job.py", ada.name, TINY_JOVYAN)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "counting as jovyan\nwords: 12\nexit code: 0\n"
    assert ada.containers() == []


def test_a_parameter_sweep(ada):
    ada.load(TINY_JOVYAN)
    done = run("parameter_sweep.py", ada.name, TINY_JOVYAN, "3", "5", "7")
    assert (done.returncode, done.stderr) == (0, "")
    squares = [f"{value} squared is {value * value}" for value in (3, 5, 7)]
    assert done.stdout.splitlines() == squares
    assert ada.containers() == []


@pytest.mark.parametrize("script", ["batch_job.py", "parameter_sweep.py"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-account", TINY_JOVYAN], "no Unix account 'no-such-account'"),
        (["root", TINY_JOVYAN], "root"),
        (["ada", "localhost/nobody/has-this:latest"], "localhost/nobody/has-this:latest"),
    ],
)
def test_a_job_that_cannot_be(ada, script, arguments, said):
    arguments = [ada.name if word == "ada" else word for word in arguments]
    values = ["1"] if script == "parameter_sweep.py" else []
    done = run(script, *arguments, *values)
    assert done.returncode != 0
    assert said in done.stderr
    assert ada.containers() == []
