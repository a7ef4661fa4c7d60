"""What a run of the tests really meets here: printed as JSON, for the matrix.

Run it with the Python of the tests, as root. It starts a server and looks at it.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "src")]

from accounts import TINY_JOVYAN, booted, real_account
from podmanspawner import UserPodman, launching
from podmanspawner.names import ServerName
from podmanspawner.settings import ServerSettings


def of_a_server() -> dict[str, str]:
    """Return engine, runtime and network of a server as the spawner starts it."""
    settings = ServerSettings(
        image=TINY_JOVYAN, server=ServerName("8081", "facts"), cmd=["sleep", "60"]
    )
    with real_account() as user:
        user.load(TINY_JOVYAN)
        with UserPodman.for_user(user.name) as podman:
            started = launching.launch(podman, settings, pull_policy="never")
            words = "{{.OCIRuntime}} {{.HostConfig.NetworkMode}}"
            runtime, network = user.podman("inspect", "-f", words, started.id).split()
            podman.remove(started.id)
            return {
                "podman": ".".join(map(str, podman.engine_version)),
                "runtime": with_version(Path(runtime).name),
                "network": with_version(network.partition(":")[0]),
            }


def with_version(program: str) -> str:
    """Return a program's name and its package's version: not every passt says its own."""
    package = {"pasta": "passt"}.get(program, program)
    query = ["dpkg-query", "-W", "-f", "${Version}", package]
    return f"{program} {subprocess.check_output(query, text=True)}"


if __name__ == "__main__":
    seen = of_a_server()
    seen["jupyterhub"] = version("jupyterhub")
    seen["python"] = platform.python_version()
    seen["system"] = platform.freedesktop_os_release()["PRETTY_NAME"]
    seen["systemd"] = "yes" if booted() else "no"
    seen["kernel"] = platform.release()
    print(json.dumps(seen))
