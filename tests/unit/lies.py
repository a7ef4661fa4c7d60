"""What a service may do to whoever reads its answers, at the wire and in what it says."""

from __future__ import annotations

import copy
import gzip
import io
import tarfile
from dataclasses import dataclass, field

from fake_service import CHUNKED, Answer, chunk, cut_off, endlessly, http, http_json
from podmanspawner.transport import KIB, MIB

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\n"


def be_silent(connection):
    connection.recv(1)


# what a service may do to whoever reads to the end of its answer

TOO_LATE = {
    "silence": be_silent,
    "silence after the headers": endlessly(b"", after=LENGTH, pause=0.05),
    "a body that drips": endlessly(b"x", after=LENGTH, pause=0.02),
    "chunks that drip": endlessly(chunk(b"x"), after=CHUNKED, pause=0.02),
    "a status line that drips": endlessly(b"H", pause=0.02),
    "headers that drip": endlessly(b"x", after=b"HTTP/1.1 200 OK\r\nX: ", pause=0.02),
    "continue that drips": endlessly(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.02),
}
TOO_LONG = {
    "a body without end": endlessly(b"x" * KIB, after=UNTIL_CLOSED),
    "chunks without end": endlessly(chunk(b"x" * KIB), after=CHUNKED),
    "one chunk without end": endlessly(b"x" * KIB, after=CHUNKED + b"ffffffffff\r\n"),
    "a length of many terabytes": endlessly(
        b"x" * KIB, after=b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n"
    ),
    "continue without end": endlessly(b"HTTP/1.1 100 Continue\r\n\r\n" * 99),
    "continue with headers without end": endlessly(b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 99),
}
NO_SOUND_HTTP = {
    "headers without end": endlessly(b"X: y\r\n", after=b"HTTP/1.1 200 OK\r\n"),
    "a header line without end": endlessly(b"x" * KIB, after=b"HTTP/1.1 200 OK\r\nX: "),
    "a status line without end": endlessly(b"x" * KIB),
    "garbage": cut_off(b"\x00\xff what is this\r\n\r\n"),
    "another protocol": cut_off(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "a status that is no number": cut_off(b"HTTP/1.1 OK\r\n\r\n"),
    "a body that breaks off": cut_off(LENGTH + b"half"),
    "a chunk that breaks off": cut_off(CHUNKED + b"ff\r\nhalf"),
    "a chunk of no size": cut_off(CHUNKED + b"what?\r\n\r\n"),
    "an error that breaks off": cut_off(LENGTH.replace(b"200 OK", b"500 No") + b"half"),
    "a gzip bomb": http(gzip.compress(b"x" * MIB), "Content-Encoding: gzip"),
    "deflate, announced only": http(b"{}", "Content-Encoding: deflate"),
    "a redirect": http(b"", "Location: http://127.0.0.1:1/", status="302 Found"),
    "a redirect of a method": http(b"", "Location: /x", status="307 Temporary Redirect"),
}


# what a service may say: of everything else it answers as a sound one does


@dataclass(frozen=True)
class Change:
    """A sound answer with another value in one place."""

    path: tuple[str, ...]
    value: object
    """A function is given what the test knows, such as somebody else's port."""

    def applied_to(self, sound: object, facts: dict) -> object:
        value = self.value(facts) if callable(self.value) else self.value
        if not self.path:
            return value
        changed = copy.deepcopy(sound)
        inner = changed
        for key in self.path[:-1]:
            inner = inner.setdefault(key, {})
        inner[self.path[-1]] = value
        return changed


@dataclass(frozen=True)
class Lie:
    """What is said instead, in which steps, and how each of the Hub's verbs may take it."""

    answer: Answer | Change
    ends: str
    """Words: reasons of UntrustedServiceError, kinds of other errors, ``fine`` for no harm."""
    start: str = ""
    """Steps of a start in which it is told."""
    poll: str = ""
    stop: str = ""
    options: dict = field(default_factory=dict)
    """Of the spawner."""


START = "ping exists pull image list probe archive remove find secrets secret create start inspect"
POLL = "inspect logs remove"
STOP = "inspect kill stop secrets remove"
JSON_START = "image list probe find secrets secret create inspect"


def _everywhere(answer, ends):
    return Lie(answer, ends, START, POLL, STOP)


def _where_json_is_read(answer, ends="protocol"):
    return Lie(answer, ends, JSON_START, "inspect", "inspect")


def _body(text):
    return http(text)


def _error(message, status="500 Internal Server Error"):
    return http_json({"message": message}, status)


def _state(key, value, ends, **options):
    return Lie(Change(("State", key), value), ends, "inspect", "inspect", **options)


def _create(key, value, ends):
    return Lie(Change((key,), value), ends, "create")


def _pull(answer, ends="image"):
    return Lie(answer, ends, "pull")


def _archive(content, ends):
    return Lie(http(content), ends, "archive")


def _log(answer):
    """A server that ended; its exit code is told whatever its log is like."""
    return Lie(answer, "engine spec", "logs", "logs")


def _found(path, value, ends="fine", **options):
    return Lie(Change(path, value), ends, "find", options=options)


def frame(text: bytes, length: int | None = None) -> bytes:
    return b"\1\0\0\0" + (len(text) if length is None else length).to_bytes(4, "big") + text


def tar(text=b"", **options):
    member = tarfile.TarInfo("passwd")
    member.size = len(text)
    for name, value in options.items():
        setattr(member, name, value)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(member, io.BytesIO(text))
    return buffer.getvalue()


def sparse_tar(size=1 << 40, *, broken_off=False):
    """One hole of a terabyte; or a list of holes that breaks off."""
    header = bytearray(tar(b"", type=tarfile.GNUTYPE_SPARSE)[:512])
    header[257:265] = b"ustar  \0"
    header[386 : 386 + 96] = bytes(96)
    header[482] = broken_off
    header[483:495] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(0 if broken_off else 1024)


def nested_tar(kind=tarfile.GNUTYPE_LONGNAME, depth=500):
    """Headers that announce headers, deeper than the interpreter's stack."""
    header = tarfile.TarInfo("x")
    header.type = kind
    return header.tobuf(tarfile.GNU_FORMAT) * depth


FORGED = "well\n[W 2026-01-01 JupyterHub] root logged in\r\x1b[2K\u2028[W forged\x0b[W too"
ID = "0123456789ab" * 5
FULL = {"Id": ID, "Name": "x", "Image": ID, "Config": {"Labels": {}}}

WIRE = {
    # who hangs up may do so while a request is being sent: then it is the service that is gone
    **{name: _everywhere(answer, "deadline") for name, answer in TOO_LATE.items()},
    **{name: _everywhere(answer, "size protocol timeout") for name, answer in TOO_LONG.items()},
    **{name: _everywhere(answer, "protocol") for name, answer in NO_SOUND_HTTP.items()},
    "the end before an answer": _everywhere(cut_off(b""), "service"),
    "the end in the status line": _everywhere(cut_off(b"HTTP/1.1 2"), "protocol service"),
    "an upgrade": _everywhere(
        cut_off(b"HTTP/1.1 101 Switching\r\nUpgrade: tcp\r\n\r\nSSH-2.0"), "engine image service"
    ),
    "early hints and no more": _everywhere(
        cut_off(b"HTTP/1.1 103 Early\r\n\r\n"), "engine image service"
    ),
    "a status of 999": _everywhere(http(status="999 What"), "engine image protocol"),
    "always not found": _everywhere(_error("no", "404 Not Found"), "engine image spec fine"),
    "always a conflict": _everywhere(_error("no", "409 Conflict"), "engine image"),
    "always an error without end": _everywhere(
        endlessly(b"x" * KIB, after=UNTIL_CLOSED.replace(b"200 OK", b"500 No")), "size timeout"
    ),
    "an error that forges the log": _everywhere(_error(FORGED), "engine image"),
    "an error of a megabyte": _everywhere(_error("x" * 1_000_000), "engine image size"),
    "an error of deep lists": _everywhere(
        http(b"[" * 500_000, status="500 No"), "engine image size"
    ),
    "an error that is no object": _everywhere(http(b"[1]", status="500 No"), "engine image"),
    "two lengths": _everywhere(
        cut_off(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 9\r\n\r\nx"),
        "protocol image fine service",
    ),
    "a length below zero": _everywhere(
        cut_off(b"HTTP/1.1 200 OK\r\nContent-Length: -9\r\n\r\nx"), "protocol image fine service"
    ),
    "a length that is none": _everywhere(
        cut_off(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nx"), "protocol image fine service"
    ),
    "chunks and a length": _everywhere(
        cut_off(CHUNKED[:-2] + b"Content-Length: 3\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
        "protocol image service fine",
    ),
    "no answer but its body": _everywhere(cut_off(b'{"Id": "x"}\r\n'), "protocol service"),
    "a header in a header": _everywhere(
        http(b"{", "X: a\r\n Y: b", "Set-Cookie: a=b; domain=*"), "protocol image fine"
    ),
}
BODIES = {
    "null": _where_json_is_read(_body(b"null"), "protocol fine"),
    "true": _where_json_is_read(_body(b"true")),
    "a number": _where_json_is_read(_body(b"1e999")),
    "a text": _where_json_is_read(_body(b'"Id"')),
    "a list": _where_json_is_read(_body(b"[1, 2]")),
    "nothing": _where_json_is_read(_body(b"")),
    "half": _where_json_is_read(_body(b'{"Id": ')),
    "two objects": _where_json_is_read(_body(b"{}{}")),
    "a page": _where_json_is_read(_body(b"<html>")),
    "no UTF-8": _where_json_is_read(_body(b"\xff\xfe\x00")),
    "deep lists": _where_json_is_read(_body(b"[" * 1_000_000)),
    "deep objects": _where_json_is_read(_body(b'{"a":' * 190_000)),
    "many small lists": _where_json_is_read(_body(b"[" + b"[]," * 340_000 + b"1]")),
    "many small objects": _where_json_is_read(_body(b"[" + b"{}," * 340_000 + b"1]")),
    "many keys": _where_json_is_read(
        _body(b"{" + b",".join(b'"%x":1' % n for n in range(95_000)) + b"}")
    ),
    "a number of 900,000 digits": _where_json_is_read(_body(b"9" * 900_000)),
    "an empty object": _where_json_is_read(_body(b"{}")),
    "the answer to something else": _where_json_is_read(
        http_json({"Id": ID}), "protocol engine spec fine"
    ),
}
IDS = {
    f"the id {str(lie)[:20]!r}": Lie(
        Change(("Id",), lie), "protocol", "image probe create find inspect", "inspect", "inspect"
    )
    for lie in (
        *(None, 7, "", [], {}, "abc", "../../../etc/passwd", "..%2f..%2fetc", ID + "/../x"),
        *(ID.upper(), "0" * 65, "é" * 20, ID + "\n", ID + "?force=true", "sha256:"),
    )
}
STATES = {
    "no state": Lie(Change(("State",), None), "protocol", "inspect", "inspect", "inspect"),
    "a state of text": Lie(Change(("State",), "running"), "protocol", "inspect", "inspect"),
    "running, as a text": _state("Running", "true", "engine"),
    "running, as a number": _state("Running", 1, "engine"),
    "an exit code of many digits": _state("ExitCode", 1 << 80, "protocol"),
    "an exit code in words": _state("ExitCode", "0", "protocol"),
    "the pid in words": _state("Pid", "1", "protocol"),
    "the pid 0": _state("Pid", 0, "fine"),
    "the pid -1": _state("Pid", -1, "fine"),
    "the first process": _state("Pid", 1, "fine"),
    "the Hub's process": _state("Pid", lambda facts: facts["hub_pid"], "fine"),
    "somebody else's process": _state("Pid", lambda facts: facts["pid"], "fine"),
    "a pid beyond all": _state("Pid", (1 << 62) + 1, "fine"),
    "a start in the year 9999": _state("StartedAt", "9999-12-31T23:59:59Z", "fine"),
    "a start in the year 0": _state("StartedAt", "0000-00-00T00:00:00Z", "protocol"),
    "a start some day": _state("StartedAt", "some day", "protocol"),
    **{
        f"the stop signal {str(lie)[:20]!r}": Lie(
            Change(("Config", "StopSignal"), lie), "fine", "inspect", "inspect", "inspect"
        )
        for lie in (0, -1, 1 << 62, "SIGNONE", "9" * 5000, [[]] * 900, {"a": 1}, FORGED)
    },
    "an error of the runtime that forges the log": Lie(
        Change(("State",), {"Status": "exited", "ExitCode": 1, "Error": FORGED}),
        "engine",
        "inspect",
        "inspect",
    ),
    "hosts and ports in the answer": Lie(
        Change(
            ("NetworkSettings",),
            {
                "IPAddress": "203.0.113.9",
                "Ports": {"8888/tcp": [{"HostIp": "203.0.113.9", "HostPort": "1"}]},
            },
        ),
        "fine",
        "inspect",
        "inspect",
    ),
}
CREATED = {
    "a container that is not there": _create("Id", ID, "engine"),
    "tens of thousands of warnings": _create("Warnings", ["w"] * 45_000, "fine"),
    "warnings without end": _create("Warnings", ["w"] * 90_000, "protocol"),
    "warnings that forge the log": _create("Warnings", [FORGED], "fine"),
    "warnings of another type": _create("Warnings", {"a": 1}, "protocol"),
    "a place elsewhere": Lie(
        http(b'{"Id": "x"}', "Location: http://203.0.113.9/", status="201 Created"),
        "protocol",
        "create",
    ),
    "the port is taken, always": Lie(_error("bind: address already in use"), "engine", "start"),
    "the program is missing": Lie(
        _error('exec: "x": executable file not found in $PATH'), "spec", "start"
    ),
    "the source is missing": Lie(
        _error("statfs /x: no such file or directory: " + "stat /" * 300), "spec", "create"
    ),
}
FOUND = {
    "a container of somebody else": _found(
        ("Config", "Labels"),
        {"podmanspawner.hub": "1", "hub.jupyter.org/username": "x"},
        "engine",
    ),
    "labels of another type": _found(("Config", "Labels"), {"a": 1}, "protocol"),
    "labels as a list": _found(("Config", "Labels"), ["a"], "protocol"),
    "environment as a number": _found(("Config", "Env"), 7, "protocol"),
    "a name that forges the log": _found(
        (), lambda f: {**f["kept"], "Name": FORGED}, remove=False
    ),
    "somebody else's port": _found(
        (), lambda f: _labelled(f["kept"], f["port"]), "peer", remove=False
    ),
    "a port of root, where nobody answers": _found(
        (), lambda f: _labelled(f["kept"], f["root_port"]), "timeout", remove=False
    ),
    "a port where nobody listens": _found(
        (), lambda f: _labelled(f["kept"], 1), "timeout", remove=False
    ),
    "a port that is none": _found(
        (), lambda f: _labelled(f["kept"], "99999"), "fine", remove=False
    ),
    "the token of somebody else": _found(
        (), lambda f: _with_token(f["kept"], f["token"]), "fine", remove=False
    ),
}
PULLS = {
    "progress without end": _pull(
        endlessly(chunk(b'{"stream":"x"}\n' * 99), after=CHUNKED), "size timeout"
    ),
    "objects without end": _pull(endlessly(chunk(b"{}\n" * KIB), after=CHUNKED), "size timeout"),
    "empty lines without end": _pull(endlessly(chunk(b"\n" * KIB), after=CHUNKED), "size timeout"),
    "a line without end": _pull(endlessly(chunk(b"x" * KIB), after=CHUNKED), "protocol"),
    "a pull that drips": _pull(endlessly(chunk(b" "), after=CHUNKED, pause=0.02), "deadline"),
    "a pull without an image": _pull(http(b'{"stream": "done"}\n')),
    "a pull of a path": _pull(http(b'{"id": "../../etc"}\n'), "protocol"),
    "a pull that forges the log": _pull(http_json({"error": FORGED})),
    "a pull with an error of another type": _pull(http_json({"error": [1]})),
    "progress of another type": _pull(http_json({"stream": {"a": 1}, "id": ID}), "fine"),
}
ARCHIVES = {
    "no archive": _archive(b"what", "protocol"),
    "a packed archive": _archive(gzip.compress(tar(b"x")), "protocol"),
    "half an archive": _archive(tar(b"x" * 600)[:700], "protocol spec"),
    "a hole of a terabyte": _archive(sparse_tar(), "spec"),
    "a list of holes that breaks off": _archive(sparse_tar(broken_off=True), "protocol"),
    "a symlink to /etc/shadow": _archive(
        tar(type=tarfile.SYMTYPE, linkname="/etc/shadow"), "spec"
    ),
    "a hard link": _archive(tar(type=tarfile.LNKTYPE, linkname="/etc/shadow"), "spec"),
    "a device": _archive(tar(type=tarfile.CHRTYPE), "spec"),
    "headers of headers": _archive(nested_tar(), "protocol"),
    "headers of headers, POSIX": _archive(nested_tar(tarfile.XHDTYPE), "protocol"),
    "an archive without end": Lie(endlessly(b"x" * KIB, after=UNTIL_CLOSED), "size", "archive"),
    "users without end": _archive(tar(b"a:x:1:1::/:\n" * 20_000), "spec"),
    "a user beyond all numbers": _archive(tar(b"jovyan:x:9999999999:1::/:\n"), "spec fine"),
    "a user of 5000 digits": _archive(tar(b"jovyan:x:" + b"9" * 5000 + b":1::/:\n"), "spec"),
}
LOGS = {
    "a log without end": _log(endlessly(chunk(frame(b"x" * KIB)), after=CHUNKED)),
    "a log in single bytes": _log(endlessly(chunk(frame(b"x") * 99), after=CHUNKED)),
    "a log of nothing": _log(endlessly(chunk(frame(b"") * 99), after=CHUNKED)),
    "a piece of four gigabytes": _log(cut_off(CHUNKED + chunk(frame(b"x", (1 << 32) - 1)))),
    "half a header": _log(http(b"\1\0\0")),
    "a log that forges the Hub's": _log(http(frame(FORGED.encode()))),
    "a log that speaks for the init process": _log(
        http(frame(b"failed to exec pid1\n" + FORGED.encode()))
    ),
}


def _image(key, value, ends):
    return Lie(Change(("Config", key), value), ends, "image")


def _listed(number, labels):
    return {
        "Id": f"{number:064x}",
        "Names": ["x"],
        "ImageID": ID,
        "State": "created",
        "Labels": labels,
        "Command": None,
    }


def _secret(name):
    return {"Spec": {"Name": name}}


IMAGES = {
    "the name of a user without end": _image("User", "\x1b" * 150_000, "spec"),
    "a folder without end": _image("WorkingDir", "/x" * 400_000, "fine spec"),
    "an entry point of many words": _image("Entrypoint", ["x"] * 45_000, "fine spec"),
    "variables without end": _image("Env", [f"V{n}=x" for n in range(45_000)], "fine spec"),
    "a user of the system": _image("User", "0", "fine"),
}
LISTS = {
    "a thousand containers to remove": Lie(
        Change((), [_listed(number, {"podmanspawner.probe": "1"}) for number in range(1000)]),
        "fine timeout",
        "list",
    ),
    "a thousand secrets to remove": Lie(
        Change((), lambda facts: [_secret(f"{facts['own']}{n}") for n in range(1000)]),
        "fine",
        "secrets",
        stop="secrets",
    ),
    "a secret whose name has no end": Lie(
        Change((), lambda facts: [_secret(facts["own"] + "\x1b" * 150_000)]),
        "fine",
        "secrets",
        stop="secrets",
    ),
}


def _labelled(kept, port):
    labels = {**kept["Config"]["Labels"], "podmanspawner.port": str(port)}
    return {**kept, "Config": {**kept["Config"], "Labels": labels}}


def _with_token(kept, token):
    return {**kept, "Config": {**kept["Config"], "Env": [f"JUPYTERHUB_API_TOKEN={token}"]}}


LIES: dict[str, Lie] = {
    **{f"wire: {name}": lie for name, lie in WIRE.items()},
    **{f"body: {name}": lie for name, lie in BODIES.items()},
    **IDS,
    **{f"state: {name}": lie for name, lie in STATES.items()},
    **{f"create: {name}": lie for name, lie in CREATED.items()},
    **{f"found: {name}": lie for name, lie in FOUND.items()},
    **{f"image: {name}": lie for name, lie in IMAGES.items()},
    **{f"list: {name}": lie for name, lie in LISTS.items()},
    **{f"pull: {name}": lie for name, lie in PULLS.items()},
    **{f"archive: {name}": lie for name, lie in ARCHIVES.items()},
    **{f"log: {name}": lie for name, lie in LOGS.items()},
}
