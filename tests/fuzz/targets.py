#!/usr/bin/env python
"""Fuzz what reads outside data, led by the code that an input reaches; needs atheris.

``python tests/fuzz/targets.py TARGET FOLDER [option of libFuzzer ...]``, where the folder is for
inputs that reach new code; without a target it lists them. An input that is neither read nor
refused with an error of the project's own ends it and is kept in a file.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import atheris

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "unit")]
with atheris.instrument_imports(include=["podmanspawner", "tarfile", "http", "urllib3"]):
    from tornado.httputil import parse_body_arguments

    import lies
    import test_answers
    import test_fuzz
    import test_names
    import test_options
    from fake_service import CHUNKED, chunk, http
    from podmanspawner import credentials, options
    from podmanspawner.names import ServerName
    from podmanspawner.pulls import PullStream

MENUS = [getattr(test_options, name) for name in ("LISTED", "NAMED", "ANY", "PROFILES")]


def as_test(test, *values: object) -> None:
    """Let a test of hypothesis look at values that are not hypothesis's."""
    test.hypothesis.inner_test(*values)


def answer(data: bytes) -> None:
    """Let the first byte choose the call, and the rest be its answer."""
    podman = test_fuzz.UserPodman(test_fuzz.Wire(data[1:]))
    with test_fuzz.REFUSED, contextlib.closing(podman):
        chosen(data, [*test_fuzz.CALLS.values()])(podman)


def body(data: bytes) -> None:
    """Let the first byte choose the call; the rest is what a sound answer carries."""
    answer(data[:1] + http(data[1:]))


def values(data: bytes) -> None:
    """Let the first byte choose what the JSON is taken for."""
    parse = chosen(data, test_answers.PARSERS).values[0]
    with test_fuzz.REFUSED:
        parse(test_answers.a.parse_json(data[1:], ""), "")


def pull(data: bytes) -> None:
    stream = PullStream("pull", lambda progress: progress.message.encode())
    with test_fuzz.REFUSED:
        for line in data.splitlines():
            stream.read(line)


def form(data: bytes) -> None:
    """Read a form as the Hub does, which leaves what is no form to itself."""
    posted: dict = {}
    with contextlib.suppress(ValueError):
        parse_body_arguments("application/x-www-form-urlencoded", data[1:], posted, {})
    fields = {name: [text.decode(errors="replace") for text in posted[name]] for name in posted}
    menu = chosen(data, MENUS)
    assert test_options.is_listed_or_refused(
        menu, lambda: options.choose(menu, options.from_form(menu, fields))
    )


def names(data: bytes) -> None:
    parts = text(data).split("\n", 2)
    server = ServerName(*[*parts, "", ""][:3])
    for test in (test_names.test_container_is_valid, test_names.test_labels_and_back):
        as_test(test, server)


def authfile(data: bytes) -> None:
    with test_fuzz.REFUSED:
        credentials._parse(data, "authfile", "/a")


def chosen(data: bytes, among: list):
    return among[data[0] % len(among) if data else 0]


def text(data: bytes) -> str:
    return data.decode(errors="replace")


SOUND = [json.dumps(parameters.values[1]).encode() for parameters in test_answers.PARSERS]
PULLED = (
    b'{"status":"Downloading","id":"0123456789ab","progressDetail":{"current":1,"total":2}}\n'
    b'{"stream":"Trying"}\n{"error":"no"}\n{"id":"sha256:0123456789ab"}\n'
)
LOG = CHUNKED + chunk(lies.frame(b"hello\n")) + chunk(b"")
FLAGS = "-v\n/a:/b:ro\n--mount=type=bind,src=/a,dst=/b\n-m\n1.5g\n--health-cmd\n[]\n-e\nA=b"
CALLS = range(len(test_fuzz.CALLS))
TARGETS = {
    "answer": (answer, [bytes([n]) + seed for n in CALLS for seed in (http(b"{}"), LOG)]),
    "body": (body, [bytes([n]) + seed for n in CALLS for seed in (*SOUND, PULLED)]),
    "values": (values, [bytes([n]) + seed for n, seed in enumerate(SOUND)]),
    "pull": (pull, [PULLED]),
    "archive": (
        lambda data: as_test(test_fuzz.test_any_bytes_as_an_archive, data),
        [lies.tar(b"x" * 600), lies.sparse_tar(), lies.nested_tar(depth=3)],
    ),
    "form": (form, [b"\x03profile=large&profile-option-large--image=r&note=%41"]),
    "names": (names, ["a\nAda L.\nüber".encode()]),
    "template": (
        lambda data: as_test(test_fuzz.test_a_template, text(data)),
        [b"{{x}}/{username}/{home!r}"],
    ),
    "flags": (
        lambda data: as_test(test_fuzz.test_flags_of_podman_run, text(data).split("\n")),
        [FLAGS.encode()],
    ),
    "authfile": (authfile, [b'{"auths":{"a.example/b":{"auth":"YTpi"}}}']),
}
"""Of each what is done with an input, and sound ones to begin with."""


def fuzz(target: str, corpus: str, *libfuzzer: str) -> None:
    """Fuzz one target in this process, which ends with it."""
    work, seeds = TARGETS[target]
    for number, seed in enumerate(seeds):
        Path(corpus, str(number)).write_bytes(seed)
    atheris.Setup([sys.argv[0], *libfuzzer, corpus], work)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:]:
        fuzz(*sys.argv[1:])
    else:
        print(*TARGETS)
