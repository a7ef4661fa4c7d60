"""The transport and the client against a service that misbehaves at the wire."""

from __future__ import annotations

import gzip
import json
import threading
import time
from dataclasses import replace

import pytest

from fake_service import (
    CHUNKED,
    ME,
    PING,
    FakeService,
    chunk,
    cut_off,
    endlessly,
    http,
    http_json,
)
from lies import LENGTH, NO_SOUND_HTTP, TOO_LATE, TOO_LONG, UNTIL_CLOSED, be_silent
from podmanspawner import (
    ContainerNotFound,
    ImageNotFound,
    PodmanError,
    ServiceError,
    UntrustedServiceError,
    rest,
    server,
)
from podmanspawner.transport import KIB, MIB

SECONDS = 0.3
LATE = 3.0
"""What a busy machine may add: what never ends ends later."""
ID = "a" * 64


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Return a function that starts a service with these answers."""
    monkeypatch.setattr(rest, "_paces", {})  # what an earlier test owes
    made = []

    def start(answers=(), **options):
        made.append(FakeService(tmp_path, dict(answers), **options))
        return made[-1]

    yield start
    for service in made:
        service.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(answer, reason, id=name)
        for reason, table in [
            ("deadline", TOO_LATE),
            ("size", TOO_LONG),
            ("protocol", NO_SOUND_HTTP),
        ]
        for name, answer in table.items()
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_bad_answer(fake, method, answer, reason):
    podman = fake({f"{method} thing": answer}).podman()
    began = time.monotonic()
    with pytest.raises(UntrustedServiceError) as caught:
        podman.request("ask", method, "thing", seconds=SECONDS, max_bytes=256 * KIB)
    assert caught.value.reason == reason
    assert time.monotonic() - began < SECONDS + LATE


def test_an_end_for_all_calls_together(fake):
    """Each call is in time, or would be; then none begins any more."""

    def late(connection):
        time.sleep(0.35)
        connection.sendall(http(b"{}"))

    service = fake({"GET thing": late})
    podman = service.podman()
    began = time.monotonic()
    podman.end_by(began + 1)
    for _ in range(2):
        podman.request("ask", "GET", "thing")
    for said in ("did not finish its answer", "given up before: ask"):
        with pytest.raises(UntrustedServiceError, match=said) as caught:
            podman.request("ask", "GET", "thing")
        assert caught.value.reason == "deadline"
    assert 1 <= time.monotonic() - began < 1 + LATE
    assert len(service.requests) == 3


@pytest.mark.parametrize("reader", ["read", "read1"])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(answer, reason, id=name)
        for name, answer, reason in [
            ("drip", endlessly(chunk(b"x"), after=CHUNKED, pause=0.02), "deadline"),
            ("silence", endlessly(b"", after=CHUNKED, pause=0.05), "deadline"),
            ("endless", endlessly(chunk(b"{}\n" * KIB), after=CHUNKED), "size"),
            ("cut off", cut_off(CHUNKED + b"ff\r\nhalf"), "protocol"),
            ("cut off early", cut_off(CHUNKED), "protocol"),
            ("short", cut_off(LENGTH + b"half"), "protocol"),
            ("no chunks", cut_off(CHUNKED + b"what?\r\n"), "protocol"),
            ("error cut off", cut_off(CHUNKED.replace(b"200 OK", b"500 No")), "protocol"),
            ("gzip", http(gzip.compress(b"x"), "Content-Encoding: gzip"), "protocol"),
        ]
    ],
)
def test_bad_stream(fake, answer, reason, reader):
    podman = fake({"GET thing": answer}).podman()
    began = time.monotonic()
    limits = {"seconds": SECONDS, "max_bytes": 256 * KIB}

    def read_all():
        with podman.streaming("ask", "GET", "thing", **limits) as stream:
            read = getattr(stream.raw, reader)
            while read(KIB):
                pass

    with pytest.raises(UntrustedServiceError) as caught:
        read_all()
    assert caught.value.reason == reason
    assert time.monotonic() - began < SECONDS + LATE


def test_a_service_that_does_not_read_an_upload(fake, tmp_path):
    archive = tmp_path / "archive.tar"
    with archive.open("wb") as file:
        file.truncate(100 * MIB)
    podman = fake(deaf=True).podman()
    began = time.monotonic()
    with pytest.raises(UntrustedServiceError) as caught:
        podman.images.load(archive, seconds=SECONDS)
    assert caught.value.reason == "deadline"
    assert time.monotonic() - began < SECONDS + LATE


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (http(status="304 Not Modified"), 304),
        (http(status="204 No Content"), 204),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + http(b"{}"), 200),
        (http(b"{}", "Content-Encoding: identity"), 200),
    ],
)
def test_sound_answers(fake, answer, wanted):
    podman = fake({"POST thing": answer}).podman()
    assert podman.request("ask", "POST", "thing", seconds=5).status_code == wanted


@pytest.mark.parametrize(
    ("status", "options", "kind"),
    [
        ("404 Not Found", {}, ContainerNotFound),
        ("404 Not Found", {"missing": ImageNotFound}, ImageNotFound),
        ("409 Conflict", {}, PodmanError),
        ("500 Internal Server Error", {}, PodmanError),
    ],
)
def test_errors_of_the_engine(fake, status, options, kind):
    said = {"cause": "c", "message": "no \x1b[31msuch\u202e thing", "response": 0}
    podman = fake({"GET thing": http_json(said, status)}).podman()
    with pytest.raises(PodmanError) as caught:
        podman.request("find it", "GET", "thing", **options)
    assert type(caught.value) is kind
    assert caught.value.operation == "find it"
    assert caught.value.status == int(status[:3])
    assert str(caught.value) == "Podman could not find it: no [31msuch thing"


def test_a_wrong_peer_gets_no_byte(fake):
    service = fake(account=replace(ME, uid=ME.uid + 1))
    with pytest.raises(UntrustedServiceError, match=f"uid {ME.uid} listens") as caught:
        service.podman().ping()
    assert caught.value.reason == "peer"
    deadline = time.monotonic() + 5
    while not service.connections:
        assert time.monotonic() < deadline
    service.wait_for_end()
    assert not service.requests


def test_nobody_answers_the_connection(fake):
    service = fake({"GET _ping": cut_off(b"")})
    with pytest.raises(ServiceError, match="podman info"):
        service.podman().ping()
    assert len(service.requests) == 3  # it may have gone idle that moment: tried again


def test_the_first_question_wakes_the_service(fake):
    """One that only reads may be asked again; its answer tells the version too."""
    said = [cut_off(b""), cut_off(b""), http(b"{}", "Libpod-API-Version: 5.4.2")]
    service = fake({"GET thing": lambda connection: send(connection, said.pop(0))})
    podman = service.podman(awake=False)
    assert podman.request_json("ask", "GET", "thing") == {}
    assert podman.engine_version == (5, 4, 2)
    assert [request.path for request in service.requests] == ["thing"] * 3


def test_who_drops_it_late_is_not_asked_again(fake, monkeypatch):
    monkeypatch.setattr(rest, "_DROP_SECONDS", 0.05)

    def drop_late(connection):
        time.sleep(0.1)
        cut_off(b"")(connection)

    service = fake({"GET thing": drop_late})
    with pytest.raises(ServiceError, match="did not answer"):
        service.podman(awake=False).request("ask", "GET", "thing")
    assert len(service.requests) == 1


def test_a_change_waits_until_the_service_is_awake(fake):
    service = fake({**PING, "POST thing": cut_off(b"")})
    podman = service.podman(awake=False)
    with pytest.raises(ServiceError, match="did not answer"):
        podman.request("change", "POST", "thing")
    assert [request.path for request in service.requests] == ["_ping", "thing"]


@pytest.mark.parametrize(
    ("verb", "request_line"),
    [("remove", f"DELETE containers/{ID}"), ("stop", f"POST containers/{ID}/stop")],
)
def test_what_ends_at_that_moment_is_asked_again(fake, verb, request_line):
    """What Podman 4.3 answers when conmon was faster."""
    body = json.dumps({"message": "sending SIGKILL: container state improper: stopped"}).encode()
    said = [http(body, status="500 Internal Server Error"), http(b"[]")]
    service = fake({request_line: lambda connection: send(connection, said.pop(0))})
    getattr(service.podman(), verb)(ID)
    assert len(service.requests) == 2


def test_a_stop_of_what_its_user_has_just_removed(fake):
    gone = http_json({"message": "no such container"}, "404 Not Found")
    server.stop(fake({f"POST containers/{ID}/stop": gone}).podman(), ID, seconds=0)


def send(connection, answer):
    answer(connection) if callable(answer) else connection.sendall(answer)


def test_wake_up_survives_a_dropped_connection(fake):
    drops = iter([cut_off(b""), cut_off(b"")])

    def answer(connection):
        action = next(drops, None)
        action(connection) if action else connection.sendall(PING["GET _ping"])

    assert fake({"GET _ping": answer}).podman().ping() == (4, 3, 1)


def test_a_connection_is_reused(fake):
    service = fake({**PING, "GET missing": http(status="404 Not Found")})
    podman = service.podman()
    for _ in range(3):
        podman.ping()
        with pytest.raises(ContainerNotFound):
            podman.request("ask", "GET", "missing")
    assert len(service.connections) == 1
    podman.close()
    podman.ping()
    assert len(service.connections) == 2


def test_a_connection_closed_while_idle_is_made_anew(fake):
    service = fake(PING)
    podman = service.podman()
    podman.ping()
    service.drop_connections()
    podman.request("ask", "GET", "_ping")
    assert len(service.connections) == 2


def test_a_refused_answer_is_not_read_on(fake):
    """What is left of a bad answer must not become the next call's."""
    evil = http(b"", "Location: /x", status="302 Found") + http(b"smuggled")
    service = fake({"GET thing": evil, **PING})
    podman = service.podman()
    with pytest.raises(UntrustedServiceError):
        podman.request("ask", "GET", "thing")
    assert podman.request("ask", "GET", "_ping").content == b"OK"
    assert len(service.connections) == 2


def test_a_refused_answer_ends_its_connection(fake):
    bomb = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    service = fake({"GET thing": endlessly(b"x" * KIB, after=bomb)})
    with pytest.raises(UntrustedServiceError) as caught:
        service.podman().request("ask", "GET", "thing")
    service.wait_for_end()
    assert caught.value.reason == "protocol"


def test_what_is_asked_for(fake, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    service = fake(PING)
    service.podman().ping()
    (request,) = service.requests
    assert request.headers["accept-encoding"] == "identity"
    assert "authorization" not in request.headers


def test_raw_goes_the_same_way(fake):
    service = fake({"GET containers/json": http_json([]), "GET _ping": endlessly(b"")})
    podman = service.podman()
    assert podman.raw.containers.list(all=True) == []
    service.answers["GET containers/json"] = endlessly(b"x" * KIB, after=UNTIL_CLOSED)
    with pytest.raises(UntrustedServiceError) as caught:
        podman.raw.containers.list()
    assert caught.value.reason == "size"


def test_a_call_does_not_inherit_what_an_earlier_one_used_up(fake):
    service = fake({"GET thing": http(b"x" * 50 * KIB)})
    podman = service.podman()
    for _ in range(4):
        podman.request("ask", "GET", "thing", max_bytes=64 * KIB, seconds=1)
        time.sleep(0.05)
    assert len(service.connections) == 1


def test_two_at_a_time_have_their_own_limits(fake):
    service = fake({**PING, "GET events": endlessly(chunk(b"{}\n"), after=CHUNKED, pause=0.05)})
    podman = service.podman()
    with podman.streaming("watch", "GET", "events", seconds=5) as stream:
        assert stream.raw.read1(KIB) == b"{}\n"
        podman.request("ask", "GET", "_ping", seconds=0.1)
        time.sleep(0.2)
        assert stream.raw.read1(KIB)


def test_who_sends_single_bytes_makes_little_work(fake):
    """It may take its time; the Hub's interpreter is for all users."""
    podman = fake({"GET thing": endlessly(chunk(b"x") * 999, after=CHUNKED)}).podman()
    worked = []

    def read():
        began = time.thread_time()
        with podman.streaming("ask", "GET", "thing", seconds=2) as answer:
            while answer.raw.read1(KIB):
                worked[:] = [time.thread_time() - began]

    with pytest.raises(UntrustedServiceError) as caught:
        read()
    assert caught.value.reason == "deadline"
    assert worked[0] < 1


def test_a_sound_answer_of_many_bytes_makes_nobody_rest(fake):
    podman = fake({"GET thing": http(b"x" * 900 * KIB)}).podman()
    began = time.monotonic()
    for _ in range(5):
        podman.request("ask", "GET", "thing")
    assert time.monotonic() - began < LATE


# cancel


def run_until_cancelled(podman, work):
    """Run work in a thread, cancel it as soon as it waits, and return what it raised."""
    problems = []

    def run():
        try:
            problems.append(work())
        except Exception as error:  # noqa: BLE001
            problems.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.2)
    assert thread.is_alive()
    podman.cancel()
    thread.join(1)
    assert not thread.is_alive(), "cancel did not end it"
    return problems[0]


@pytest.mark.parametrize("start", [CHUNKED, CHUNKED + chunk(b"\x01\0\0\0\0\0\0\2hi"), b""])
def test_cancel_ends_a_stream(fake, start):
    podman = fake({"GET containers/a/logs": endlessly(b"", after=start, pause=0.05)}).podman()
    problem = run_until_cancelled(podman, lambda: list(podman.follow_logs("a")))
    assert isinstance(problem, UntrustedServiceError | ServiceError)


def test_cancel_ends_a_wait(fake):
    podman = fake({"POST containers/a/wait": be_silent}).podman()
    assert isinstance(run_until_cancelled(podman, lambda: podman.wait("a")), ServiceError)


def test_cancel_lets_a_change_finish(fake):
    def slowly(connection):
        time.sleep(0.5)
        connection.sendall(http_json({"Id": ID}))

    podman = fake({"POST containers/create": slowly}).podman()
    create = lambda: podman.request_json("create", "POST", "containers/create", data="{}")  # noqa: E731
    assert run_until_cancelled(podman, create) == {"Id": ID}
    with pytest.raises(ServiceError, match="Given up before: create"):
        create()


# streams of the client


def frame(text, stream=1):
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"", ""),
        (frame(b"out\n") + frame(b"err\n", 2), "out\nerr\n"),
        (frame(b"") + frame(b"x"), "x"),
        (frame(b"\xff"), "\ufffd"),
        (frame(b"a" * 100 * KIB) + frame(b"end"), "a" * (64 * KIB - 3) + "end"),
        (b"\1\0\0\0\xff\xff\xff\xffshort", "short"),
    ],
)
def test_logs(fake, body, wanted):
    podman = fake({"GET containers/a/logs": http(body)}).podman()
    assert podman.logs("a") == wanted


def test_logs_with_half_a_header(fake):
    podman = fake({"GET containers/a/logs": http(frame(b"x") + b"\1\0")}).podman()
    with pytest.raises(UntrustedServiceError) as caught:
        podman.logs("a")
    assert caught.value.reason == "protocol"


def test_a_line_without_end(fake):
    endless = endlessly(chunk(b"x" * KIB), after=CHUNKED)
    podman = fake({"POST images/pull": endless, "GET events": endless}).podman()
    for read in (lambda: podman.images.pull("image"), lambda: list(podman.events(seconds=5))):
        with pytest.raises(UntrustedServiceError, match="a line without end"):
            read()


def test_events_end_at_their_time(fake):
    event = {"Action": "died", "Actor": {"ID": ID, "Attributes": {"name": "a"}}, "time": 1}
    drip = endlessly(chunk(json.dumps(event).encode() + b"\n"), after=CHUNKED, pause=0.05)
    podman = fake({"GET events": drip}).podman()
    began = time.monotonic()
    seen = list(podman.events(seconds=SECONDS))
    assert SECONDS <= time.monotonic() - began < SECONDS + LATE
    assert {(event.action, event.name) for event in seen} == {("died", "a")}


def test_wait_has_an_end(fake):
    podman = fake({"POST containers/a/wait": be_silent}).podman()
    with pytest.raises(TimeoutError, match=r"a still runs after 0.3 s"):
        podman.wait("a", seconds=SECONDS)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../json", "a?x=1", "a#b", "a b", "%2e%2e", "ü", "a\n"]
)
def test_what_is_no_name_of_a_container_is_not_asked_for(fake, name):
    service = fake()
    podman = service.podman()
    for ask in (podman.inspect, podman.start, podman.stop, podman.wait, podman.logs):
        with pytest.raises(ContainerNotFound, match="neither name nor id"):
            ask(name)
    assert podman.remove(name) is False
    assert not service.requests
