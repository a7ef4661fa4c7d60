"""Whatever comes from outside is read, or refused with one of the project's own errors.

Seconds as it is; ``make fuzz`` tries for an hour.
"""

from __future__ import annotations

import contextlib
import json
import socket
from itertools import chain

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fake_service import CHUNKED, ME, chunk, http
from lies import nested_tar, sparse_tar, tar
from podmanspawner import (
    Account,
    AccountError,
    Image,
    Mount,
    PodmanSpawnerError,
    SpecError,
    UntrustedServiceError,
    UserPodman,
    files,
    server,
)
from podmanspawner.answers import Container, timestamp
from podmanspawner.builder import build
from podmanspawner.compat import Original
from podmanspawner.flags.table import ALIASES, FLAGS, LETTERS
from podmanspawner.names import ServerName, expand
from podmanspawner.settings import ImageFacts, ServerSettings
from podmanspawner.users import first_file

ID = "0123456789ab" * 5
REFUSED = contextlib.suppress(PodmanSpawnerError)


class Wire:
    """A service that has its answer ready, whatever is asked, and then ends."""

    account = ME
    failure = crash_loop = None

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        with theirs, contextlib.suppress(BlockingIOError):
            theirs.send(self.answer)
            theirs.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                theirs.recv(0)
        return ours


# an HTTP answer, nearly

WORDS = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 ", b"HTTP/1.0 204 \r\n", b"HTTP/1.1 500 No\r\n"),
        *(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 Up\r\n", b"HTTP/1.1 302 Found\r\n"),
        *(b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 9x\r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Connection: x\r\n"),
        *(
            b"Location: /\r\n",
            b"Location: http://[\r\n",
            b"Set-Cookie: a\r\n",
            b"X\r\n",
            b": y\r\n",
        ),
        *(b"Content-Type: multipart/x; boundary=\r\n", b"Libpod-API-Version: 4.3.1\r\n"),
        *(b"\r\n", b"\r\n\r\n", b"\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n"),
        *(b"-5\r\n", b"5;x=y\r\n", b"{}", b"null", b"[", b'{"Id": "' + ID.encode() + b'"}'),
        *(b'{"error": 1}\n', b'{"id": 1}\n', b'{"stream": "x"}\n', b"\1\0\0\0\0\0\0\2hi", b"\xff"),
    ]
)
JUNK = st.lists(WORDS | st.binary(max_size=9), max_size=12).map(b"".join)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([ID, "running", "4.3.1", "2026-01-01T00:00:00Z"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["Id", "Config", "State", "Env", "Labels", "User", "Names", "message"])
            | st.text(max_size=3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
BODY = JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200)
ANSWER = st.one_of(
    JUNK,
    st.builds(http, BODY),
    st.builds(lambda body: http(body, status="500 No"), BODY),
    st.lists(BODY, max_size=3).map(lambda parts: CHUNKED + b"".join(map(chunk, parts))),
    st.builds(lambda head, body: head + http(body), JUNK, BODY),
)
CALLS = {
    "ping": lambda podman: podman.ping(),
    "inspect": lambda podman: podman.inspect("a"),
    "start": lambda podman: podman.start("a"),
    "stop": lambda podman: podman.stop("a"),
    "wait": lambda podman: podman.wait("a", seconds=5),
    "remove": lambda podman: podman.remove("a"),
    "list": lambda podman: podman.containers(),
    "logs": lambda podman: podman.logs("a", tail=3),
    "events": lambda podman: list(podman.events(seconds=5)),
    "exec": lambda podman: podman.exec("a", ["b"]),
    "exists": lambda podman: podman.images.exists("a"),
    "image": lambda podman: podman.images.inspect("a"),
    "pull": lambda podman: podman.images.pull("a", progress=lambda told: told.message.encode()),
    "users": lambda podman: podman.images.user_ids(Image.parse({"Id": ID, "User": "a"}, "")),
}


@pytest.mark.parametrize("call", CALLS)
@given(ANSWER)
@example(b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n")
@example(http(nested_tar()))
def test_an_answer(call, answer):
    podman = UserPodman(Wire(answer))
    try:
        CALLS[call](podman)
    except PodmanSpawnerError as error:
        assert not {"\n", "\r", "\x1b"} & set(str(error))  # noqa: PT017, it need not raise
    finally:
        podman.close()


ARCHIVES = st.sampled_from([tar(b"x" * 600), sparse_tar(), nested_tar(depth=3), bytes(1024)])


@given(ARCHIVES, st.lists(st.tuples(st.integers(0, 1500), st.binary(max_size=12)), max_size=6))
@example(nested_tar(), [])
@example(sparse_tar(broken_off=True), [])
def test_an_archive(archive, changes):
    broken = bytearray(archive)
    for place, piece in changes:
        broken[place : place + len(piece)] = piece
    with contextlib.suppress(UntrustedServiceError):
        assert len(first_file(bytes(broken), "read")) <= 256 * 1024


@given(st.binary(max_size=2000))
def test_any_bytes_as_an_archive(content):
    with contextlib.suppress(UntrustedServiceError):
        first_file(content, "read")


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,12})?(Z|[+-]\d\d:\d\d)"))
def test_a_time(text):
    with contextlib.suppress(UntrustedServiceError):
        assert abs(timestamp(text, "")) < 1e12


# what the Hub's users and administrators write


@given(st.text())
@example("..")
@example("root\0")
@example("1000")
def test_a_name_of_an_account(name):
    with contextlib.suppress(AccountError):
        found = Account.lookup(name)
        assert found.name == name
        assert found.uid >= 1000


BRACES = st.lists(
    st.sampled_from(
        ["{", "}", "{{", "}}", "{username}", "{home}", "{x}", "{username!r}", "/", ".."]
    )
    | st.text(max_size=4),
    max_size=8,
).map("".join)
FIELDS = {"username": "{home}", "home": "/home/{username.__class__}"}


@given(BRACES)
def test_a_template(template):
    with contextlib.suppress(SpecError):
        assert "\0" in template or expand(template, FIELDS).count("class") <= template.count(
            "home"
        )


KEYS = st.sampled_from(
    [
        *("type", "source", "target", "read_only", "options", "relabel", "bind-propagation"),
        *("tmpfs-size", "tmpfs-mode", "src", "dst", "x"),
    ]
)
VALUES = (
    BRACES | JSON | st.sampled_from(["bind", "volume", "tmpfs", "image", "overlay", "/a", "z"])
)


@given(
    st.lists(st.dictionaries(KEYS, VALUES, max_size=5), max_size=2),
    st.dictionaries(BRACES, VALUES, max_size=2),
    st.dictionaries(BRACES, VALUES, max_size=2),
    BRACES,
)
@example([{"target": "/a", "relabel": []}], {}, {}, "")
@example([{"type": "bind", "source": "/a", "target": "/a", "options": False}], {}, {}, "")
def test_mounts(entries, volumes, tmpfs, home):
    settings = ServerSettings(
        image="a",
        server=ServerName("h", "u"),
        mounts=entries,
        volumes=volumes,
        tmpfs=tmpfs,
        home_target=home,
    )
    with contextlib.suppress(SpecError):
        for mount in files.mounts(settings, FIELDS):
            assert isinstance(mount, Mount)
            assert mount.target.startswith("/")
            assert ".." not in (mount.target + "/" + mount.source).split("/")
            json.dumps(mount.to_json())


TEXTS = st.text(max_size=12)


@given(
    TEXTS | st.sampled_from(["1000", "a:b", "0", "1000:0", "4294967295", "9999999999"]),
    TEXTS,
    st.dictionaries(st.sampled_from(["HOME", "NB_UID", "NB_GID", "NB_USER"]), BRACES | TEXTS),
    st.none() | st.integers(0, 10**10),
    st.tuples(TEXTS, TEXTS),
)
def test_what_an_image_says(user, working_dir, environment, uid, names):
    image = ImageFacts(
        id=ID,
        user=user,
        working_dir=working_dir,
        environment=environment,
        command=("a",),
        uid=uid,
        gid=uid,
    )
    settings = ServerSettings(image="a", server=ServerName("h", *names))
    with contextlib.suppress(SpecError):
        spec = build(settings, image, ME, port=1234)
        assert all(".." not in mount.target.split("/") for mount in spec.mounts)
        json.dumps(spec.to_json(), allow_nan=False)


PIECES = [
    *("", ":", ",", "=", "/", "..", ";", '"', "'", "[", "]", "[]", "{", "}", "{username}", "-1"),
    *("0", "1", "1000", "9" * 400, "1.5", "g", "GiB", "s", "ms", "/a", "/dev/a", "a", "true"),
    *("type", "bind", "tmpfs", "source", "target", "uid", "gid", "mode", "size", "z", "O", "ro"),
    *("keep-id", "auto", "host", "none", "CMD", "nofile", "127.0.0.1", "::1", "tcp", "all", "\0"),
]
PIECE = st.sampled_from(PIECES) | st.text(max_size=3)
VALUE = st.lists(PIECE, max_size=6).map("".join) | st.builds(json.dumps, JSON)
FLAG = st.one_of(
    st.sampled_from([f"--{name}" for name in (*FLAGS, *ALIASES)]),
    st.sampled_from([f"-{letter}" for letter in LETTERS]),
    st.text("-iteva", max_size=4),
)
FLAGS_AND_VALUES = st.one_of(
    FLAG.map(lambda flag: (flag,)),
    st.tuples(FLAG, VALUE),
    st.tuples(st.builds("{}={}".format, FLAG, VALUE)),
)


@given(st.lists(FLAGS_AND_VALUES, max_size=4).map(lambda pairs: [*chain(*pairs)]))
@example(["-m", "9" * 400])
@example(["--health-cmd", "[]"])
@example(["--entrypoint", "[" * 100_000])
def test_flags_of_podman_run(words):
    """They are the administrator's; what they make is what the engine can be asked for."""
    image = ImageFacts(id=ID, user="1000", command=("a",), uid=1000, gid=100)
    plain = ServerSettings(image="a", server=ServerName("h", "u"))
    with contextlib.suppress(SpecError):
        settings = Original(podman_additional_cmds=words).settings(plain)
        json.dumps(build(settings, image, ME, port=1234).to_json(), allow_nan=False)


@given(JSON, st.text() | st.sampled_from(["1", "65535", "65536", "٣", "²"]))
def test_a_kept_container(labels, port):
    sound = {
        "Id": ID,
        "Name": "a",
        "Image": ID,
        "Config": {"Labels": labels},
        "State": {"Status": "exited"},
    }
    with REFUSED:
        found = Container.parse(sound, "")
        found.labels[server.PORT_LABEL] = port
        kept = server.kept_port(found)
        assert kept is None or 0 < kept < 65536
        ServerName.from_labels(found.labels)
        server.kept_token(found)
