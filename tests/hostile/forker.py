"""Starts Hubs by forking: ``python forker.py``, one JSON object a line.

A JupyterHub takes two seconds to import and as many tens of milliseconds to fork. What runs in the
child is the whole application with its configuration file, as ``python -m jupyterhub`` runs it.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from jupyterhub.app import JupyterHub

import podmanspawner.spawner  # noqa: F401, so that no Hub has to


def become_a_hub(order: dict) -> None:
    """Leave all that is the forker's, and be a JupyterHub to the end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.chdir(order["folder"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["jupyterhub", "-f", order["config"]]
    JupyterHub.launch_instance(sys.argv[1:])


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if child == 0:
            try:
                become_a_hub(json.loads(line))
            finally:
                os._exit(1)
        print(child, flush=True)


if __name__ == "__main__":
    main()
