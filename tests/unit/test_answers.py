"""What a service may answer: read into types, or refused with one kind of error."""

from __future__ import annotations

import copy
import gc
import gzip
import io
import json
import os
import subprocess
import tarfile
import time
import tracemalloc
from contextlib import closing, suppress
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_service import FakeService, http, http_json
from lies import nested_tar
from podmanspawner import (
    Container,
    ContainerState,
    EngineInfo,
    Event,
    Image,
    SpecError,
    UntrustedServiceError,
    Volume,
)
from podmanspawner import answers as a
from podmanspawner.users import PROBE_LABEL, first_file

ID = "0123456789ab" * 4
STATE = {"Status": "exited", "Running": False, "ExitCode": 3, "Pid": 0, "Error": ""}
CONTAINER = {
    "Id": ID,
    "Name": "/jupyter-8081--ada",
    "Image": f"sha256:{ID}",
    "Config": {"Labels": {"x": "y"}, "Env": ["A=1", "B=2=3", "C"], "Cmd": ["sh", "-c", ""]},
    "State": STATE,
    "HostConfig": {"Memory": 1 << 29},
}
LISTED = {
    "Id": ID,
    "Names": ["jupyter-8081--ada"],
    "ImageID": ID,
    "State": "exited",
    "ExitCode": 3,
    "Pid": 0,
    "StartedAt": 1700000000,
    "Labels": {"x": "y"},
    "Command": ["sh"],
}
STOP_SIGNALS = [({"StopSignal": 15}, "15"), ({"StopSignal": "SIGTERM"}, "SIGTERM"), ({}, "")]
IMAGE = {
    "Id": ID,
    "User": "jovyan",
    "Config": {
        "WorkingDir": "/home/jovyan",
        "Env": ["HOME=/home/jovyan"],
        "Cmd": ["sh"],
        "Entrypoint": "tini --",
        "Labels": None,
    },
    "RepoTags": ["localhost/a:1"],
    "Size": 1000,
}
EVENT = {
    "Action": "died",
    "Actor": {"ID": ID, "Attributes": {"name": "a", "containerExitCode": "137"}},
    "time": 1700000000,
}


def parse_event(value, where):
    return Event.parse(json.dumps(value).encode(), where)


UNHEALTHY = {
    **STATE,
    "Health": {"Status": "unhealthy", "Log": [{"Output": "no"}, {"Output": "no\x1b disk"}]},
}
VOLUME = {"Name": "work-ada", "Labels": {"x": "y"}, "Mountpoint": "/somewhere"}
INFO = {
    "host": {"security": {"selinuxEnabled": True}, "cgroupVersion": "v2", "ociRuntime": {}},
    "store": {"graphDriverName": "overlay", "graphRoot": "/a", "graphRootAllocated": 5},
}
PARSERS = [
    pytest.param(Container.parse, CONTAINER, id="container"),
    pytest.param(Image.parse, IMAGE, id="image"),
    pytest.param(parse_event, EVENT, id="event"),
    pytest.param(ContainerState.parse, STATE, id="state"),
    pytest.param(ContainerState.parse, UNHEALTHY, id="unhealthy"),
    pytest.param(Volume.parse, VOLUME, id="volume"),
    pytest.param(a.listed, LISTED, id="listed"),
    pytest.param(EngineInfo.parse, INFO, id="info"),
]


@pytest.mark.parametrize(("told", "signal"), STOP_SIGNALS)
def test_the_stop_signal(told, signal):
    """A number in Podman 4, a name in 5."""
    raw = {**CONTAINER, "Config": {**CONTAINER["Config"], **told}}
    assert Container.parse(raw, "").stop_signal == signal


def test_container():
    assert Container.parse(CONTAINER, "") == Container(
        id=ID,
        name="jupyter-8081--ada",
        image_id=ID,
        labels={"x": "y"},
        environment={"A": "1", "B": "2=3", "C": ""},
        command=("sh", "-c", ""),
        state=ContainerState("exited", False, 3, 0, a.timestamp(a._NEVER, ""), False, ""),
        runtime="",
        memory_limit=1 << 29,
    )


def test_a_container_of_a_list():
    state = ContainerState("exited", False, 3, 0, 1.7e9, False, "")
    assert a.listed(LISTED, "") == Container(
        ID, "jupyter-8081--ada", ID, {"x": "y"}, {}, ("sh",), state, runtime=""
    )
    assert a.listed({**LISTED, "State": "running"}, "").state.running


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:10Z", 10),
        ("1970-01-01T01:00:10.25+01:00", 10.25),
        ("2026-11-23T17:14:54.123456789Z", 1795454094.123456789),
        ("0001-01-01T00:00:00Z", -62135596800),
    ],
)
def test_timestamp(text, seconds):
    assert a.timestamp(text, "") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "now", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", 7])
def test_no_timestamp(text):
    with pytest.raises(UntrustedServiceError):
        a.timestamp(text, "")


def test_what_a_health_check_printed_last():
    assert ContainerState.parse(UNHEALTHY, "").health == "no disk"
    named_otherwise = {**STATE, "Healthcheck": UNHEALTHY["Health"]}  # Podman before 5
    assert ContainerState.parse(named_otherwise, "").health == "no disk"


def test_volume():
    assert Volume.parse(VOLUME, "") == Volume("work-ada", {"x": "y"})


def test_image():
    assert Image.parse(IMAGE, "") == Image(
        id=ID,
        user="jovyan",
        working_dir="/home/jovyan",
        environment={"HOME": "/home/jovyan"},
        command=("sh",),
        entrypoint=("tini", "--"),
        labels={},
        names=("localhost/a:1",),
        size=1000,
    )


def test_event():
    assert parse_event(EVENT, "") == Event("died", ID, "a", 1700000000, 137)


@pytest.mark.parametrize(
    ("code", "wanted"), [("0", 0), ("-1", -1), ("", None), ("1e9", None), ("9" * 99, None)]
)
def test_exit_code_of_an_event(code, wanted):
    changed = replace(EVENT, ("Actor", "Attributes", "containerExitCode"), code)
    assert parse_event(changed, "").exit_code == wanted


LIES = [None, True, 0, -1, 1.5, 10**40, "", "x", "../../etc", ID + "/..", [], [1], {}, {"a": 1}]


def replace(value, path, lie):
    changed = copy.deepcopy(value)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = lie
    return changed


def paths_of(value, path=()):
    for key, inner in value.items():
        yield (*path, key)
        if isinstance(inner, dict):
            yield from paths_of(inner, (*path, key))


@pytest.mark.parametrize(("parse", "value"), PARSERS)
def test_a_lie_in_one_field(parse, value):
    for path in paths_of(value):
        for lie in LIES:
            read_or_refuse(parse, replace(value, path, lie))


def read_or_refuse(parse, value):
    """What is read has the right types; what is not raises one kind of error and no other."""
    try:
        found = parse(value, "ask")
    except UntrustedServiceError as error:
        return error.reason == "protocol" or pytest.fail(error.reason)
    return assert_types(found)


def assert_types(found):
    for each in (found, getattr(found, "state", found)):
        for name, value in vars(each).items():
            wanted = {
                "exit_code": (int, type(None)),
                "pid": int,
                "started_at": float,
                "time": int,
                "labels": dict,
                "environment": dict,
                "state": ContainerState,
                "running": bool,
                "oom_killed": bool,
                "memory_limit": int,
                "size": int,
                "stop_signal": str,
                "command": tuple,
                "entrypoint": tuple,
                "names": tuple,
                "storage_free": int,
                "selinux": bool,
                "apparmor": bool,
            }.get(name, str)
            assert isinstance(value, wanted), (name, value)
            if name in ("id", "image_id"):
                assert value.isalnum()
                assert 12 <= len(value) <= 64


@pytest.mark.parametrize(
    ("parse", "value", "path", "lie"),
    [
        (Container.parse, CONTAINER, ("Id",), lie)
        for lie in (None, 1, "", "abc", ID + "/..", ID.upper(), "é" * 12, "sha256:", "0" * 65)
    ]
    + [
        (Container.parse, CONTAINER, ("Config",), None),
        (Container.parse, CONTAINER, ("Config", "Labels"), {"a": 1}),
        (Container.parse, CONTAINER, ("Config", "Env"), {"a": "b"}),
        (Container.parse, CONTAINER, ("Config", "Env"), ["a", 1]),
        (Container.parse, CONTAINER, ("State",), None),
        (Container.parse, CONTAINER, ("State", "ExitCode"), True),
        (Container.parse, CONTAINER, ("State", "ExitCode"), "0"),
        (Container.parse, CONTAINER, ("State", "Pid"), 1 << 63),
        (Container.parse, CONTAINER, ("Name",), None),
        (Image.parse, IMAGE, ("Config", "Cmd"), 1),
        (Image.parse, IMAGE, ("Config", "WorkingDir"), ["/"]),
        (parse_event, EVENT, ("Actor", "Attributes", "name"), 1),
        (parse_event, EVENT, ("time",), "now"),
    ],
)
def test_refused(parse, value, path, lie):
    with pytest.raises(UntrustedServiceError, match=r"\(ask\)") as caught:
        parse(replace(value, path, lie), "ask")
    assert caught.value.reason == "protocol"


@pytest.mark.parametrize("running", [1, "true", None, [], "True"])
def test_only_true_is_running(running):
    assert not ContainerState.parse({**STATE, "Running": running}, "").running


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 10_000,
        b"[" + b"[]," * 200_000 + b"1]",
        b"[" + b"{}," * 200_000 + b"1]",
        b'"' + b"[" * 101,
        b"nonsense",
    ],
)
def test_no_json(text):
    with pytest.raises(UntrustedServiceError) as caught:
        a.parse_json(text, "ask")
    assert caught.value.reason == "protocol"
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text",
    [
        b'["' + b"[" * 1000 + b'"' + b",[]" * 1000 + b"]",
        rb'["\\",' + b"[" * 80 + b'"' + rb"\"[" * 1000 + b'"' + b"]" * 81,
    ],
)
def test_brackets_in_texts_are_no_levels(text):
    assert a.parse_json(text, "ask") == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 101 + b"]" * 101,
        b'["\\"\\\\",' + b'{"":[' * 60 + b"]}" * 60 + b"]",
        '["\u2222"'.encode("utf-16-le") + ",[".encode("utf-16-le") * 101,
    ],
)
def test_a_level_too_many(text):
    with pytest.raises(UntrustedServiceError):
        a.parse_json(text, "ask")


def test_to_look_for_levels_takes_no_memory():
    text = b"[" * 50 + b"]" * 50 + b"[" * 51 + b'"aa' * 330_000
    tracemalloc.start()
    with pytest.raises(UntrustedServiceError):
        a.parse_json(text, "ask")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * len(text)


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (a.parse_json, b"[" * 10_000),
        (a.parse_json, b'{"a":' * 10_000),
        (a.parse_json, ("[" * 10_000).encode("utf-16")),
        (first_file, nested_tar()),
        (first_file, nested_tar(tarfile.XHDTYPE)),
    ],
)
def test_what_the_interpreter_does_meanwhile_has_room(read, content, deep_collections):
    """A finalizer, of anything in the Hub, that runs at the end of the stack fails."""
    with pytest.raises(UntrustedServiceError):
        read(content, "ask")
    assert deep_collections.failed == 0
    assert deep_collections.done


@pytest.fixture
def deep_collections():
    """Go 300 calls deep at each garbage collection, of which there are many."""
    counts = SimpleNamespace(done=0, failed=0)

    def down(calls):
        return calls and down(calls - 1)

    def collected(phase, info):
        try:
            down(300)
            counts.done += 1
        except RecursionError:
            counts.failed += 1

    usual = gc.get_threshold()
    gc.callbacks.append(collected)
    gc.set_threshold(5)
    yield counts
    gc.callbacks.remove(collected)
    gc.set_threshold(*usual)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON)
@pytest.mark.parametrize(("parse", "value"), PARSERS)
def test_any_json(parse, value, lie):
    del value
    read_or_refuse(parse, lie)


@given(st.data(), JSON)
@pytest.mark.parametrize(("parse", "value"), PARSERS)
def test_any_json_in_any_field(parse, value, data, lie):
    path = data.draw(st.sampled_from(list(paths_of(value))))
    read_or_refuse(parse, replace(value, path, lie))


@given(st.binary())
def test_any_bytes(text):
    a.error_message(text).encode()
    for parse in (a.parse_json, Event.parse):
        with suppress(UntrustedServiceError):
            parse(text, "ask")
    for read in (a.frames, a.lines):
        with suppress(UntrustedServiceError):
            assert sum(map(len, read(io.BufferedReader(io.BytesIO(text))))) <= len(text)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b'{"cause": "c", "message": "no such image", "response": 500}', "no such image"),
        (b'{"message": ["a"]}', "['a']"),
        (b'{"cause": "c"}', '{"cause": "c"}'),
        (b"[]", "[]"),
        (b"plain text", "plain text"),
        (b"\xff", "\ufffd"),
        (b"[" * 100_000, "[" * 2000),
        (b'{"message": "\\u001b]0;title\\u0007red\\u202e"}', "]0;titlered"),
        (b'{"message": "a\\ud800b"}', "ab"),
        (json.dumps({"message": "x" * 10_000}).encode(), "x" * 2000),
    ],
)
def test_error_message(content, wanted):
    assert a.error_message(content) == wanted


@given(st.text(st.characters(), max_size=50))
def test_plain_text_can_be_shown(text):
    shown = a.plain(text)
    shown.encode()
    assert not any(character in shown for character in "\0\x07\x1b\x7f\x9b\r\u202e\u2066")
    assert a.plain(shown) == shown


def test_plain_text_keeps_its_lines():
    assert a.plain("one\n\ttwo ü") == "one\n\ttwo ü"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("4.3.1", (4, 3, 1)),
        ("5.4.2-rhel", (5, 4, 2)),
        ("5", (5,)),
        ("", ()),
        ("v5", ()),
        ("99999.1", (9999,)),
        ("1.2.3.4", (1, 2, 3)),
    ],
)
def test_version(text, wanted):
    assert a.version(text) == wanted


def test_a_line_in_pieces():
    class Slow:
        pieces = iter([b"on", b"e\ntwo", b"\n", b"\n", b"three", b""])

        def read1(self, _size):
            return next(self.pieces)

    assert list(a.lines(Slow())) == [b"one", b"two", b"three"]


# an image's users, read from the image itself: a tar that its owner made


def tar(text=b"", **options):
    member = tarfile.TarInfo("passwd")
    member.size = len(text)
    for name, value in options.items():
        setattr(member, name, value)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(member, io.BytesIO(text))
    return buffer.getvalue()


def sparse_tar(size=1 << 40):
    """One hole of a terabyte."""
    header = bytearray(tar(b"", type=tarfile.GNUTYPE_SPARSE)[:512])
    header[257:265] = b"ustar  \0"
    header[386 : 386 + 96] = bytes(96)
    header[483:495] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


@pytest.fixture
def user_ids(tmp_path):
    """Return a function that looks a user up in an image with this passwd."""
    made = []

    def look_up(user, passwd):
        archive = f"GET containers/{ID}/archive"
        taught = {
            "GET containers/json": http_json([]),
            "POST containers/create": http_json({"Id": ID}),
            archive: passwd,
            f"DELETE containers/{ID}": http_json([]),
        }
        made.append(FakeService(tmp_path, taught))
        podman = made[-1].podman()
        image = Image.parse({"Id": ID, "User": user}, "")
        return podman.images.user_ids(image)

    yield look_up
    for service in made:
        assert [request.method for request in service.requests][-1:] in ([], ["DELETE"])
        service.close()


PASSWD = b"root:x:0:0::/root:/bin/sh\njovyan:x:1000:100::/home/jovyan:/bin/sh\nbad:x:\xb2:1::/:\n"
NO_FILE = http_json({"message": "no such file"}, "404 Not Found")


@pytest.mark.parametrize(
    ("user", "answer", "wanted"),
    [
        ("", NO_FILE, (0, 0)),
        ("0", NO_FILE, (0, 0)),
        ("1000:100", NO_FILE, (1000, 100)),
        ("1000", http(tar(PASSWD)), (1000, 100)),
        ("1234", http(tar(PASSWD)), (1234, 0)),
        ("1234", NO_FILE, (1234, 0)),
        ("jovyan", http(tar(PASSWD)), (1000, 100)),
        ("jovyan:7", http(tar(PASSWD)), (1000, 7)),
    ],
)
def test_users_of_an_image(user_ids, user, answer, wanted):
    assert user_ids(user, answer) == wanted


def test_a_forgotten_probe_is_removed(tmp_path):
    """What a process that died left goes; what another one uses at this moment stays."""
    old, young, dead, mine = "a" * 64, "b" * 64, "d" * 64, "c" * 64
    ended = subprocess.Popen(["true"])
    ended.wait()

    def probe(container, since, pid):
        by = f"{os.readlink('/proc/self/ns/pid')} {pid}"
        labels = {"podmanspawner.since": str(int(since)), "podmanspawner.by": by}
        return {**LISTED, "Id": container, "Labels": {PROBE_LABEL: "1", **labels}}

    found = [
        probe(old, time.time() - 3600, os.getpid()),
        probe(young, time.time(), os.getpid()),
        probe(dead, time.time(), ended.pid),
    ]
    taught = {
        "GET containers/json": http_json(found),
        f"DELETE containers/{old}": http_json([]),
        f"DELETE containers/{dead}": http_json([]),
        "POST containers/create": http_json({"Id": mine}),
        f"GET containers/{mine}/archive": http(tar(PASSWD)),
        f"DELETE containers/{mine}": http_json([]),
    }
    with closing(FakeService(tmp_path, taught)) as service:
        service.podman().images.user_ids(Image.parse(IMAGE, ""))
    removed = [r.path for r in service.requests if r.method == "DELETE"]
    assert removed == [f"containers/{each}" for each in (old, dead, mine)]


@pytest.mark.parametrize(
    ("user", "answer", "kind"),
    [
        ("ghost", http(tar(PASSWD)), SpecError),
        ("ghost", NO_FILE, SpecError),
        ("²", http(tar(PASSWD)), SpecError),
        ("9" * 5000, NO_FILE, SpecError),
        ("1000:²", NO_FILE, SpecError),
        ("bad", http(tar("bad:x:²:²::/:\n".encode())), SpecError),
        ("bad", http(tar(b"bad:x:" + b"9" * 5000 + b":1::/:\n")), SpecError),
        ("jovyan", http(b"no tar"), UntrustedServiceError),
        ("jovyan", http(b""), UntrustedServiceError),
        # an archive of nothing: Python 3.10 calls it broken, later ones empty
        ("jovyan", http(bytes(10240)), (SpecError, UntrustedServiceError)),
        ("jovyan", http(tar(type=tarfile.SYMTYPE, linkname="nowhere")), SpecError),
        ("jovyan", http(tar(type=tarfile.LNKTYPE, linkname="passwd")), SpecError),
        ("jovyan", http(tar(type=tarfile.DIRTYPE)), SpecError),
        ("jovyan", http(tar(PASSWD)[:550]), UntrustedServiceError),
        ("jovyan", http(sparse_tar()), SpecError),
        ("jovyan", http(gzip.compress(tar(PASSWD))), UntrustedServiceError),
    ],
)
def test_users_of_a_lying_image(user_ids, user, answer, kind):
    with pytest.raises(kind):
        user_ids(user, answer)


@pytest.mark.parametrize("field", [("Name",), ("State", "Error"), ("OCIRuntime",)])
def test_what_names_a_container_is_one_line(field):
    found = Container.parse(replace(CONTAINER, field, "a\n[I JupyterHub] b\u2028c\x1b"), "")
    assert "a [I JupyterHub] b c" in (found.name, found.state.error, found.runtime)


def test_an_account_forges_no_line_of_the_hubs_log():
    forged = "bye\n[I JupyterHub] root logged in\x1b[2K\r"
    assert a.quoted(forged) == "    | bye\n    | [I JupyterHub] root logged in[2K"
    message = a.error_message(json.dumps({"message": forged}).encode())
    assert message == "bye [I JupyterHub] root logged in[2K"
