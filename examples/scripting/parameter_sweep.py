"""Run a job for each of several values, a few at a time, each in a container of its own.

Run it as root, for any account, or as the account itself.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from podmanspawner import ContainerSpec, PodmanSpawnerError, UserPodman

JOB = 'echo "$VALUE squared is $((VALUE * VALUE))"'


def run_job(account: str, image: str, value: int) -> str:
    # One UserPodman for each thread; they share the account's service.
    with UserPodman.for_user(account) as podman:
        spec = ContainerSpec(
            image=image,
            command=["sh", "-c", JOB],
            environment={"VALUE": str(value)},
            labels={"job": "sweep"},
            network="none",
        )
        result = podman.run(spec, seconds=60)
    if result.exit_code != 0:
        return f"{value}: exit code {result.exit_code}: {result.output.strip()}"
    return result.output.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("account", help="name of the Unix account whose Podman runs the jobs")
    parser.add_argument("image", help="image of the jobs; it needs a shell")
    parser.add_argument("values", type=int, nargs="+", help="whole numbers, a job for each")
    parser.add_argument("--jobs", type=int, default=2, help="how many run at a time")
    arguments = parser.parse_args()
    try:
        with UserPodman.for_user(arguments.account) as podman:
            podman.images.ensure(arguments.image)
        with ThreadPoolExecutor(arguments.jobs) as pool:
            job = partial(run_job, arguments.account, arguments.image)
            for line in pool.map(job, arguments.values):
                print(line)
    except (PodmanSpawnerError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
