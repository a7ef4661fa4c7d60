"""Getting an image: what ``image`` can say, what a pull tells, whose credentials it carries."""

from __future__ import annotations

import base64
import json
import logging
import os
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_service import CHUNKED, ME, FakeService, chunk, cut_off, endlessly, http, http_json
from podmanspawner import (
    ImageNotFound,
    PodmanError,
    ServiceError,
    SpecError,
    UntrustedServiceError,
    credentials,
)
from podmanspawner.complaints import of_pull
from podmanspawner.credentials import HEADER, Credentials, Keyring
from podmanspawner.launching import _pulling
from podmanspawner.pulls import MAX_LAYERS, Progress, PullStream
from podmanspawner.transports import local_source, name_here, registry_name, repository

A, B = "a" * 12, "b" * 12
ID = A + "0" * 52
NAME = "registry.test/lab:1"


@pytest.fixture
def fake(tmp_path):
    made = []

    def start(answers):
        made.append(FakeService(tmp_path, answers))
        return made[-1]

    yield start
    for service in made:
        service.close()


# what image can say


@pytest.mark.parametrize(
    ("image", "transport", "path", "reference", "dated_file"),
    [
        ("dir:/srv/lab", "dir", "/srv/lab", "", "/srv/lab/manifest.json"),
        ("dir:/srv/a:b/", "dir", "/srv/a:b", "", "/srv/a:b/manifest.json"),
        ("oci:/srv/lab", "oci", "/srv/lab", "", "/srv/lab/index.json"),
        ("oci:/srv/lab:a/b:1", "oci", "/srv/lab", "a/b:1", "/srv/lab/index.json"),
        ("docker-archive:/l.tar", "docker-archive", "/l.tar", "", "/l.tar"),
        ("docker-archive:/l.tar:lab:1", "docker-archive", "/l.tar", "lab:1", "/l.tar"),
        ("docker-archive:/l.tar:@0", "docker-archive", "/l.tar", "@0", "/l.tar"),
        ("oci-archive:/a b.tar:1", "oci-archive", "/a b.tar", "1", "/a b.tar"),
    ],
)
def test_a_place_on_the_host(image, transport, path, reference, dated_file):
    source = local_source(image)
    assert (source.transport, source.path, source.reference) == (transport, path, reference)
    assert source.dated_file == dated_file
    assert str(source) == image.rstrip("/")
    assert name_here(image) == source.name
    assert registry_name(source.name) == source.name  # a name that engines take


def test_places_have_names_of_their_own():
    places = ["dir:/a-b", "dir:/a/b", "oci:/a-b", "oci:/a-b:1", "dir:/A-b", f"dir:/{'x' * 99}"]
    assert len({name_here(place) for place in places}) == len(places)


@pytest.mark.parametrize(
    ("image", "name", "repository_"),
    [
        ("busybox", "busybox", "docker.io/library/busybox"),
        ("jupyter/lab:1", "jupyter/lab:1", "docker.io/jupyter/lab"),
        ("docker://quay.io/a/b:1", "quay.io/a/b:1", "quay.io/a/b"),
        ("quay.io/a/b@sha256:" + ID, "quay.io/a/b@sha256:" + ID, "quay.io/a/b"),
        ("localhost/a:1", "localhost/a:1", "localhost/a"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a", "127.0.0.1:5000/a"),
        ("docker:dind", "docker:dind", "docker.io/library/docker"),
        (ID, ID, "docker.io/library/" + ID),
    ],
)
def test_a_name_in_a_registry(image, name, repository_):
    assert local_source(image) is None
    assert name_here(image) == name
    assert repository(name) == repository_


@pytest.mark.parametrize(
    "image",
    [
        *("", "/etc", "a//b", "../x", "a/..", "a b", "a\nb", "a\0b", "-a", "é", "a" * 513, "{x}"),
        *("dir:", "dir:relative", "dir:lab", "oci:latest", "dir:/a\nb", "dir:/" + "a" * 4096),
        *("oci:/a:-b", "oci:/a:b c", "docker-archive:/a:@", "oci-archive:/a:\n"),
        *("docker-daemon:a:1", "containers-storage:a", "https://quay.io/a", "ssh://a/b"),
        *("docker://", "docker://dir:/srv", "a?b=c", "a#b", "a%2fb"),
    ],
)
def test_what_is_no_image(image):
    with pytest.raises(SpecError, match=r"^image: "):
        name_here(image)


# what a pull tells


def lines(*said):
    return b"".join(json.dumps(line).encode() + b"\n" for line in said)


def layer(status, name, current=None, total=None):
    detail = {} if current is None else {"current": current, "total": total}
    return {"status": status, "progressDetail": detail, "id": name}


@pytest.mark.parametrize(
    ("said", "progress"),
    [
        ([], Progress("0 of 0 parts")),
        ([layer("Pulling fs layer", A)], Progress("0 of 1 parts")),
        (
            [layer("Pulling fs layer", A), layer("Downloading", A, 500_000, 2_000_000)],
            Progress("0.5 of 2.0 MB (25 %), 0 of 1 parts", 500_000, 2_000_000),
        ),
        (
            [layer("Downloading", A, 1, 10), layer("Download complete", A)],
            Progress("0.0 of 0.0 MB (100 %), 1 of 1 parts", 10, 10),
        ),
        (
            [layer("Downloading", A, 3, 10), layer("Downloading", B, 2, 10)],
            Progress("0.0 of 0.0 MB (25 %), 0 of 2 parts", 5, 20),
        ),
        ([layer("Already exists", A)], Progress("1 of 1 parts")),
        ([layer("Extracting", A)], Progress("0 of 1 parts")),
        # lies: more than all, less than nothing
        (
            [layer("Downloading", A, 99, 10)],
            Progress("0.0 of 0.0 MB (100 %), 0 of 1 parts", 10, 10),
        ),
        ([layer("Downloading", A, -5, 10)], Progress("0.0 of 0.0 MB (0 %), 0 of 1 parts", 0, 10)),
        ([layer("Downloading", A, 5, -1)], Progress("0 of 1 parts")),
        ([layer("Downloading", A, None)], Progress("0 of 1 parts")),
    ],
)
def test_progress_is_the_sum_over_the_layers(said, progress):
    stream = PullStream("pull")
    for line in said:
        stream.read(lines(line))
    assert stream.progress() == progress
    assert 0 <= stream.progress().fraction <= 1


@pytest.mark.parametrize(
    "line",
    [
        *(b"[]", b"{", b'"x"', b'{"id": "../../etc"}', b'{"id": 1}', b"[" * 9999),
        *(lines(layer("Downloading", A, current, 10)) for current in (1.5, True, "1", 1 << 63)),
        *(lines(layer("Downloading", A, 1, total)) for total in (None, [], 10**40)),
        *(lines(layer("Downloading", name)) for name in (None, 1, "", "x" * 12, A + "a")),
        lines({"status": ["Downloading"], "id": A}),
        lines({"status": "Downloading", "id": A, "progressDetail": [1]}),
    ],
)
def test_a_lie_of_a_pull_is_refused(line):
    with pytest.raises(UntrustedServiceError) as caught:
        PullStream("pull").read(line)
    assert caught.value.reason == "protocol"


def test_layers_without_end_are_refused():
    stream = PullStream("pull")
    for number in range(MAX_LAYERS):
        stream.read(lines(layer("Pulling fs layer", f"{number:012x}")))
    with pytest.raises(UntrustedServiceError, match=f"more than {MAX_LAYERS} layers"):
        stream.read(lines(layer("Pulling fs layer", A)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


@given(st.lists(st.fixed_dictionaries({"status": JSON, "id": JSON, "progressDetail": JSON})))
def test_any_json_is_progress_or_refused(said):
    told = []
    stream = PullStream("pull", told.append)
    try:
        for line in said:
            stream.read(lines(line))
    except (UntrustedServiceError, PodmanError):
        pass
    assert all(isinstance(progress.message, str) for progress in told)


def test_the_page_never_goes_backwards():
    told = []
    tell = _pulling(lambda percent, message: told.append((percent, message)))
    for done, total in ((0, 0), (5, 10), (5, 100), (100, 100), (7, 0), (10**18, 1)):
        tell(Progress("x", done, total))
    assert [percent for percent, _ in told] == [20, 34, 34, 49, 49, 49]
    assert told[0][1] == "Getting the image: x"


# a pull at the wire

PULL = "POST images/create"
INSPECT = {"GET images/registry.test/lab:1/json": http_json({"Id": ID, "Config": {}})}
THERE = {"GET images/registry.test/lab:1/exists": http(status="204 No Content")}
DONE = lines(
    layer("Downloading", B, 1, 2), layer("Download complete", B), layer("Download complete", A)
)


def ensure(service, image=NAME, policy="always", **options):
    with closing(service.podman()) as podman:
        return podman.images.ensure(image, policy, **options)


def test_a_pull_by_its_full_name_asks_for_figures(fake):
    told = []
    service = fake({PULL: http(DONE), **INSPECT})
    assert ensure(service, progress=told.append).id == ID
    assert service.requests[0].query == "fromImage=registry.test%2Flab%3A1"
    assert [progress.done for progress in told] == [1, 2, 2]


@pytest.mark.parametrize(
    "body",
    [
        lines({"stream": "Trying\x1b[0m…\n"}, {"stream": "Copying\n"}, {"id": ID, "images": [ID]}),
        lines({"stream": "Trying"}, layer("Download complete", A)),
    ],
)
def test_a_short_name_is_the_accounts_matter(fake, body):
    """Engines from 4.8 on answer in the second way."""
    told = []
    inspect = http_json({"Id": ID, "Config": {}})
    service = fake({"POST images/pull": http(body), "GET images/lab/json": inspect})
    assert ensure(service, "lab", progress=told.append).id == ID
    assert service.requests[0].query == "reference=lab&policy=always&compatMode=true"
    assert told[0].message.startswith("Trying")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (http(lines({"error": "unauthorized"})), ImageNotFound),
        (http(DONE + lines({"error": "no such host", "errorDetail": {}})), ImageNotFound),
        (http(lines({"message": "denied"}), status="401 Unauthorized"), ImageNotFound),
        (http(lines({"message": "manifest unknown"}), status="404 Not Found"), ImageNotFound),
        (http(b""), ImageNotFound),
        (http(lines({"stream": "only words"})), ImageNotFound),
        (http(lines(layer("Download complete", B))), ImageNotFound),  # of a layer: not the end
        (http(b"[]"), UntrustedServiceError),
        (cut_off(CHUNKED + chunk(DONE)), UntrustedServiceError),
        (endlessly(chunk(b"x" * 1024), after=CHUNKED), UntrustedServiceError),
    ],
)
def test_a_pull_that_fails(fake, answer, kind):
    with pytest.raises(kind):
        ensure(fake({PULL: answer, **INSPECT}))


def test_a_pull_has_one_deadline(fake):
    drip = endlessly(chunk(lines(layer("Downloading", A, 1, 10))), after=CHUNKED, pause=0.05)
    began = time.monotonic()
    with pytest.raises(ImageNotFound, match="pull_timeout.*start_timeout"):
        ensure(fake({PULL: drip}), seconds=0.5)
    assert time.monotonic() - began < 5


def test_newer_uses_what_is_here_if_the_registry_cannot_be_asked(fake, caplog):
    answers = {PULL: http(lines({"error": "no route to host"})), **THERE, **INSPECT}
    with caplog.at_level(logging.WARNING):
        assert ensure(fake(answers), policy="newer").id == ID
    assert "no route to host" in caplog.text


@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        ("unauthorized: authentication required", "hub_authfile, authfile or registry_cred"),
        ("requested access to the resource is denied", "registry_credentials"),
        ("x509: certificate signed by unknown authority", "certs.d"),
        ("http: server gave HTTP response to HTTPS client", "insecure"),
        ("manifest unknown: manifest unknown", "its tag"),
        ('short-name "lab" did not resolve to an alias', "quay.io/NAME"),
        ("write /x: no space left on device", "podman image prune"),
        ("write /x: disk quota exceeded", "podman image prune"),
        ("dial tcp: lookup nowhere: no such host", "reaches the registry"),
    ],
)
def test_a_failure_says_what_to_do(why, remedy):
    text = str(of_pull(NAME, why, ""))
    assert why in text
    assert remedy in text
    assert NAME in text


# credentials

PASSWORD = "s3cret-of-the-registry"


def entry(username="ada", password=PASSWORD):
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


@pytest.fixture
def authfile(tmp_path):
    def write(auths, mode=0o600):
        file = tmp_path / "auth.json"
        file.write_text(auths if isinstance(auths, str) else json.dumps({"auths": auths}))
        file.chmod(mode)
        return str(file)

    return write


@pytest.mark.parametrize(
    ("name", "keys", "scope"),
    [
        (NAME, ["registry.test"], "registry.test"),
        (NAME, ["registry.test", "registry.test/lab"], "registry.test/lab"),
        (NAME, ["https://registry.test/v2/"], "registry.test"),
        (NAME, ["registry.test:5000", "test", "registry.test/la"], None),
        ("registry.test:5000/a/b@sha256:" + ID, ["registry.test:5000/a"], "registry.test:5000/a"),
        ("busybox", ["https://index.docker.io/v1/"], "docker.io"),
        ("busybox", ["docker.io/library"], "docker.io/library"),
        ("a/b", ["quay.io"], None),
        ("quay.io/a", [], None),
    ],
)
def test_the_closest_entry_is_used(authfile, name, keys, scope):
    file = authfile({key: entry(key) for key in keys} | {"helped.test": {}})
    for keyring in (Keyring(hub_authfile=file), Keyring(authfile=file)):
        found = keyring.find(name, ME)
        assert (found and found.scope) == scope


def test_who_comes_first(authfile):
    hub = authfile({"registry.test": entry("hub"), "other.test": entry("hub")})
    given = {"registry.test": {"username": "given", "password": PASSWORD}}
    keyring = Keyring(given=given, hub_authfile=hub)
    assert keyring.find(NAME, ME).username == "given"
    assert keyring.find("other.test/a", ME).username == "hub"
    assert keyring.find("third.test/a", ME) is None


def test_the_accounts_file_may_be_missing_and_the_hubs_may_not():
    assert Keyring(authfile="/no/such/file").find(NAME, ME) is None
    with pytest.raises(SpecError, match=r"hub_authfile: /no/such/file cannot be read \(No such"):
        Keyring(hub_authfile="/no/such/file").find(NAME, ME)


def test_a_file_without_an_end(tmp_path, monkeypatch):
    """The account's file may be anything of the account's."""
    monkeypatch.setattr(credentials, "_READ_SECONDS", 0.3)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpecError, match="authfile: .*a plain file"):
        Keyring(authfile=str(tmp_path / "pipe")).find(NAME, ME)
    monkeypatch.undo()
    with pytest.raises(ServiceError, match="printed more than"):
        Keyring(authfile="/dev/zero").find(NAME, ME)


def test_the_hubs_file_must_be_its_own(authfile):
    with pytest.raises(SpecError, match="hub_authfile: .*read by others.*chmod 600"):
        Keyring(hub_authfile=authfile({"registry.test": entry()}, mode=0o640)).find(NAME, ME)
    file = authfile({"registry.test": entry()})
    os.chown(file, 1234, 1234)
    with pytest.raises(SpecError, match="hub_authfile: .*chown 0 "):
        Keyring(hub_authfile=file).find(NAME, ME)


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", '{"auths": []}', '{"auths": {"registry.test": 1}}', "[" * 9999),
        *(
            f'{{"auths": {{"a": {{"auth": {auth}}}}}}}'
            for auth in ("1", '"%"', '"YWRh"', '"OmI="')
        ),
        json.dumps({"auths": {"registry.test": {**entry(), "auth": PASSWORD}}}),
        json.dumps({"auths": {"registry.test": {"identitytoken": PASSWORD}}}),
    ],
)
@pytest.mark.parametrize("option", ["authfile", "hub_authfile"])
def test_what_is_no_authfile(authfile, option, content):
    with pytest.raises(SpecError, match=f"^{option}: .*podman login") as caught:
        Keyring(**{option: authfile(content)}).find(NAME, ME)
    assert PASSWORD not in repr(caught.getrepr(chain=True, showlocals=False))
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "given",
    [
        [1],
        "text",
        {"a": PASSWORD},
        {1: {"username": "a", "password": PASSWORD}},
        {"a": {"username": "a"}},
        {"a": {"username": "", "password": PASSWORD}},
        {"a": {"username": "a", "password": PASSWORD.encode()}},
        {"a": {"username": "a", "password": PASSWORD, "token": PASSWORD}},
    ],
)
def test_what_is_no_answer_of_a_function(given):
    with pytest.raises(SpecError, match=r"^registry_credentials: it returned") as caught:
        Keyring(given=given).find(NAME, ME)
    assert PASSWORD not in str(caught.value)


def test_a_pull_carries_one_password_and_only_in_its_header(fake, authfile, caplog):
    file = authfile({"registry.test": entry(), "other.test": entry("other", "another")})
    keyring = Keyring(hub_authfile=file)
    service = fake({PULL: http(lines({"error": "unauthorized"}))})
    with caplog.at_level(logging.DEBUG), pytest.raises(ImageNotFound) as caught:
        ensure(service, keyring=keyring)
    (request,) = service.requests
    sent = json.loads(base64.urlsafe_b64decode(request.headers[HEADER.lower()]))
    assert sent == {"registry.test": {"username": "ada", "password": PASSWORD}}
    assert "with the credentials for registry.test" in str(caught.value)
    encoded = request.headers[HEADER.lower()]
    shown = [caplog.text, str(caught.value), repr(keyring), repr(Credentials("a", "b", PASSWORD))]
    for text in shown:
        assert PASSWORD not in text
        assert encoded not in text
