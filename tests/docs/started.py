"""Start a server with each configuration of the documents, and print what came of each as JSON.

Run by ``test_configurations``, in a machine where all is there that they speak of. What is changed
of a configuration is the command, the image, and limits, which are not enforced there.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

from traitlets.config import Config

from accounts import TINY_JOVYAN
from podmanspawner.cli import hub
from shown import TOP, all_blocks

ANSWER = "port=${JUPYTERHUB_SERVICE_URL##*:}; exec httpd -f -p ${port%%/*} -h /"
CHANGED = {
    "cmd": ["sh", "-c", ANSWER, "sh"],
    "pull_policy": "never",
    "unenforced_limits": "warn",
    "delete_grace_period": 1,
}
SECONDS = 60


def configurations() -> dict[str, Config]:
    """Return those that say something of spawners, by where they stand."""
    texts = {str(block): block.text for block in all_blocks("python")}
    examples = sorted((TOP / "examples").rglob("*.py"))
    texts |= {str(file.relative_to(TOP)): file.read_text() for file in examples}
    found = {}
    os.environ.setdefault("PODMANSPAWNER_DEMO_USERS", "ada")
    for name, text in texts.items():
        if not re.search(r"^c\.\w+\.\w+ = ", text, re.MULTILINE):
            continue
        c = Config()
        vault = SimpleNamespace(read=lambda _path: "secret")
        exec(text, {"c": c, "get_config": lambda c=c: c, "vault": vault})
        if c.PodmanSpawner or c.Spawner or c.ProfilesSpawner:
            wrapper = "wrapspawner.ProfilesSpawner" if c.ProfilesSpawner else "podman"
            c.JupyterHub.setdefault("spawner_class", wrapper)
            found[name] = c
    return found


def images(c: Config) -> set[str]:
    return set(re.findall(r"'((?:quay\.io|registry\.example\.org)/[^']+)'", repr(c)))


async def start_and_stop(spawner: hub.Lone) -> None:
    try:
        await asyncio.wait_for(spawner.start(), SECONDS)
        assert await spawner.poll() is None
    finally:
        await spawner.stop(now=True)
        await spawner.delete_forever()


def error_with(c: Config) -> str:
    """Start and stop a server by each way that a configuration has; return what went wrong."""
    try:
        read = hub._hub(c, None)
        for offer in read.offers:
            spawner = read.spawner("ada", offer, **CHANGED)
            if not callable(spawner.image):
                spawner.image = TINY_JOVYAN
            if spawner.entrypoint == ["tini", "-g", "--"]:
                spawner.entrypoint = ["env", "--"]  # the tests' image has no tini
            spawner.extra_spec.pop("resource_limits", None)  # as with unenforced_limits
            asyncio.run(start_and_stop(spawner))
    except Exception as error:  # noqa: BLE001, whatever it is, it is told
        return str(getattr(error, "jupyterhub_message", "")) or repr(error)
    return ""


def main() -> None:
    found = configurations()
    for account in ("ada", "jupyter"):
        uid = subprocess.check_output(["id", "-u", account], text=True).strip()
        podman = [
            "runuser",
            "-u",
            account,
            "--",
            "env",
            f"XDG_RUNTIME_DIR=/run/user/{uid}",
            "podman",
        ]
        for image in set().union(*map(images, found.values())):
            subprocess.run([*podman, "tag", TINY_JOVYAN, image], cwd="/", check=True)
    json.dump({name: error_with(c) for name, c in found.items()}, sys.stdout)


if __name__ == "__main__":
    main()
