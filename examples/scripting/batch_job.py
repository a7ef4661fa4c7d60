"""Run a small batch job in a container of an account, and print what came of it.

Run it as root, for any account, or as the account itself.
"""

from __future__ import annotations

import argparse
import sys

from podmanspawner import ContainerSpec, PodmanSpawnerError, RunResult, UserPodman

TEXT = "Each account has its own containers, and each container its own job."
JOB = """
echo "counting as $(id -un)"
words=$(printf '%s' "$TEXT" | wc -w)
echo "words: $words"
"""


def count_words(account: str, image: str, text: str) -> RunResult:
    with UserPodman.for_user(account) as podman:
        podman.images.ensure(image, "missing")
        spec = ContainerSpec(
            image=image,
            command=["sh", "-c", JOB],
            environment={"TEXT": text},
            labels={"job": "count-words"},
            network="none",
        )
        return podman.run(spec, seconds=60)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("account", help="name of the Unix account whose Podman runs the job")
    parser.add_argument("image", help="image of the job; it needs a shell and wc")
    arguments = parser.parse_args()
    try:
        result = count_words(arguments.account, arguments.image, TEXT)
    except (PodmanSpawnerError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    print(result.output, end="")
    print(f"exit code: {result.exit_code}")
    return 0 if result.exit_code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
