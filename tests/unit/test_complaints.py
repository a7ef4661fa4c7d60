"""What the engine's errors say, in the words of each version and runtime."""

from __future__ import annotations

import pytest

from podmanspawner import complaints


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("statfs /srv/data: no such file or directory", "/srv/data"),
        ("lstat /srv/a b: permission denied", "/srv/a b"),
        ("no such image", None),
        ("stat: no such file", None),
    ],
)
def test_missing_path(message, wanted):
    assert complaints.missing_path(message) == wanted


@pytest.mark.parametrize(
    ("message", "option"),
    [
        ("runc: error setting rlimit type 7: operation not permitted: OCI permission", "ulimits"),
        ("crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted", "ulimits"),
        ("setting up CDI devices: unresolvable CDI devices example.com/gpu=0", "devices"),
        ('mounting overlay failed "/no/such": stat /no/such: no such file', "mounts"),
        ('creating image volume "a:1":"/a": a:1: image not known', "mounts"),
        (
            "create healthcheck: unable to get systemd connection to add healthchecks: lstat /run",
            "healthcheck",
        ),
        ("netavark: IO error: aardvark-dns failed to start: Failed to connect", "network"),
        ('workdir "/no/such" does not exist on container 0123abcd', "working_dir"),
        (
            "looking up supplemental groups for container 0: Unable to find group lab: no match",
            "supplemental_gids",
        ),
        ("no such container", None),
    ],
)
def test_refused_option(message, option):
    refused = complaints.refused_option(message)
    assert (refused[0] if refused else None) == option


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("string into Go struct field SpecGenerator.privileged of type bool", "privileged"),
        ("number into Go struct field SpecGenerator.ContainerBasicConfig.env of type int", "env"),
        ("number into Go struct field specGeneratorWire.env.A of type string", "env"),
        ("string into Go value of type int", None),
    ],
)
def test_malformed_field(message, wanted):
    assert complaints.malformed_field(f"decode(): json: cannot unmarshal {message}") == wanted


def test_unknown_zone():
    """What Podman 5 says; 4.3 tells the missing file."""
    said = "running container create option: finding timezone: unknown time zone No/Where"
    assert complaints.unknown_zone(said) == "No/Where"
    assert complaints.unknown_zone("no such file") is None


@pytest.mark.parametrize(
    ("message", "option"),
    [
        ("opening seccomp profile failed: open /a: no such file or directory", "seccomp_profile"),
        ('running container create option: no secret with name or id "a": no such', "secrets"),
        ("no such container", None),
    ],
)
def test_refused_security(message, option):
    refused = complaints.refused_security(message)
    assert (refused[0] if refused else None) == option


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ('runc: exec: "no-such": executable file not found in $PATH: OCI runtime', "no-such"),
        ('crun: exec: \\"no-such\\": executable file not found in $PATH', "no-such"),
        ('exec: "/bin/none": stat /bin/none: no such file or directory', "/bin/none"),
        ("crun: executable file `no-such` not found in $PATH: No such file", "no-such"),
        ("address already in use", None),
    ],
)
def test_missing_program(message, wanted):
    assert complaints.missing_program(message) == wanted
