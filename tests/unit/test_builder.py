"""Every rule of the builder, by table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podmanspawner.account import IdRange
from podmanspawner.builder import (
    IMAGE_LABEL,
    build,
    image_home,
    map_user,
    volumes,
)
from podmanspawner.certs import Certificates
from podmanspawner.errors import SpecError
from podmanspawner.identity import UserMapping
from podmanspawner.mounts import Mount
from podmanspawner.names import (
    HUB_LABEL,
    SERVERNAME_LABEL,
    USERNAME_LABEL,
    ServerName,
    slug,
)
from podmanspawner.network import Port
from podmanspawner.reach import by_name, hub_url_inside
from podmanspawner.settings import Engine, ImageFacts, ServerSettings
from podmanspawner.spec import FINGERPRINT_LABEL
from specs import ACCOUNT, JOVYAN, PORT

SLIRP = Engine((4, 3, 1), pasta=True)
PASTA = Engine((5, 4, 2), pasta=True)
ROOT = UserMapping("root")
ROOT_IMAGE = ImageFacts(command=["sh"])


def make_settings(**options):
    return ServerSettings(**{"image": "busybox", "server": ServerName("8081", "ada"), **options})


def make(image=JOVYAN, port=PORT, **options):
    return build(make_settings(**options), image, ACCOUNT, port=port)


def facts(user, **options):
    return ImageFacts(user=user, **options)


def keep(uid, gid):
    return UserMapping("keep-id", uid, gid)


STACKS = {"NB_USER": "jovyan", "NB_UID": "1000", "NB_GID": "100"}


@pytest.mark.parametrize(
    ("choice", "image", "mapping", "user"),
    [
        ("auto", facts(""), ROOT, None),
        ("auto", facts("root"), ROOT, None),
        ("auto", facts("0"), ROOT, None),
        ("auto", facts("0:0"), ROOT, None),
        ("auto", facts("root:users"), ROOT, None),
        ("auto", facts("", environment=STACKS), ROOT, None),
        ("auto", facts("toor", uid=0, gid=0), ROOT, None),
        ("auto", facts("1000:100"), keep(1000, 100), None),
        ("auto", facts("1000"), keep(1000, 1000), None),
        ("auto", facts("1000:0"), keep(1000, 1000), None),
        ("auto", facts("1000", uid=1000, gid=50), keep(1000, 50), None),
        ("auto", facts("1000:users", uid=1000, gid=100), keep(1000, 100), None),
        ("auto", facts("1000", environment=STACKS), keep(1000, 100), None),
        ("auto", facts("2000", environment=STACKS), keep(2000, 2000), None),
        ("auto", facts("jovyan", uid=1000, gid=100), keep(1000, 100), None),
        ("auto", facts("jovyan:7", uid=1000, gid=100), keep(1000, 7), None),
        ("auto", facts("jovyan", uid=1234), keep(1234, 1234), None),
        ("auto", facts("jovyan", environment=STACKS), keep(1000, 100), None),
        ("auto", facts("jovyan", uid=5, gid=6, environment=STACKS), keep(5, 6), None),
        ("auto", facts("jovyan", environment={"NB_UID": "1000"}), keep(1000, 1000), None),
        ("root", facts("jovyan"), ROOT, None),
        ("keep-id", facts("jovyan"), UserMapping("keep-id"), "1001:1002"),
        ("keep-id:uid=7,gid=8", facts("jovyan"), keep(7, 8), "7:8"),
        ("auto-userns:size=9", facts("jovyan"), UserMapping("auto-userns", size=9), None),
        ("0:1:9,9:0:1", facts("jovyan"), UserMapping.parse("0:1:9,9:0:1"), None),
    ],
)
def test_map_user(choice, image, mapping, user):
    assert map_user(choice, image, ACCOUNT) == (mapping, user)


ONE_OWNER = Engine((4, 3, 1), one_owner=True)


@pytest.mark.parametrize(
    ("image", "options", "served"),
    [
        (facts("jovyan", uid=1000, gid=100), {}, True),
        (facts(""), {}, True),
        (facts("root"), {"user_mapping": "root"}, True),
        (facts("jovyan", uid=1000, gid=100), {"user_mapping": "keep-id"}, True),
        (facts("jovyan"), {"user_mapping": "keep-id:uid=7,gid=8"}, True),
        (facts("1234"), {"container_user": "1234"}, True),
        (facts("root"), {"container_user": "root"}, True),
        (facts("jovyan", uid=1000, gid=100), {"user_mapping": "root"}, False),
        (facts("1234"), {"container_user": "1234", "user_mapping": "keep-id:uid=7,gid=8"}, False),
        (facts("1234"), {"container_user": "1234", "user_mapping": "root"}, False),
        (facts("root"), {"container_user": "root", "user_mapping": "keep-id"}, False),
    ],
)
def test_where_all_files_are_the_accounts_so_is_the_user(image, options, served):
    options = {"home_target": "", "cmd": ["sh"], **options}
    assert make(image, **options)
    if served:
        assert make(image, engine=ONE_OWNER, **options) == make(image, **options)
        return
    with pytest.raises(SpecError, match=f"image_stores.*{image.user!r} would own none") as caught:
        make(image, engine=ONE_OWNER, **options)
    assert caught.value.option == "user_mapping"


@pytest.mark.parametrize(
    "image",
    [
        facts("jovyan"),
        facts("other", environment=STACKS),
        facts("jovyan", environment={"NB_UID": "many"}),
        facts("jovyan", environment={"NB_UID": "9" * 5000}),
    ],
)
def test_unknown_image_user(image):
    with pytest.raises(SpecError, match="keep-id:uid=U,gid=G") as caught:
        map_user("auto", image, ACCOUNT)
    assert caught.value.option == "user_mapping"


@pytest.mark.parametrize(
    ("options", "network", "network_options", "ports"),
    [
        ({"engine": SLIRP}, "slirp4netns", (), True),
        ({"engine": SLIRP, "hub_port": 8081}, "slirp4netns", ("allow_host_loopback=true",), True),
        ({"engine": Engine((5, 4, 2))}, "slirp4netns", (), True),
        ({"engine": PASTA}, "pasta", (), True),
        ({"engine": PASTA, "hub_port": 8081}, "pasta", ("-T", "8081"), True),
        ({"engine": Engine((4, 4), pasta=True)}, "pasta", (), True),
        ({"network": "host", "engine": PASTA, "hub_port": 8081}, "host", (), False),
        (
            {"network": "slirp4netns", "engine": PASTA, "hub_port": 8081},
            "slirp4netns",
            ("allow_host_loopback=true",),
            True,
        ),
        (
            {"network": "slirp4netns:mtu=1500,cidr=10.9.0.0/24", "engine": SLIRP, "hub_port": 1},
            "slirp4netns",
            ("mtu=1500", "cidr=10.9.0.0/24", "allow_host_loopback=true"),
            True,
        ),
        (
            {"network": "slirp4netns:allow_host_loopback=false", "engine": SLIRP, "hub_port": 1},
            "slirp4netns",
            ("allow_host_loopback=false",),
            True,
        ),
        ({"network": "pasta", "engine": PASTA}, "pasta", (), True),
        (
            {"network": "pasta:-I,tap0", "engine": PASTA, "hub_port": 8081},
            "pasta",
            ("-I", "tap0", "-T", "8081"),
            True,
        ),
        (
            {"network": "pasta:-T,8081,--map-gw", "engine": PASTA, "hub_port": 8081},
            "pasta",
            ("-T", "8081", "--map-gw"),
            True,
        ),
        (
            {"network": "pasta:--tcp-ns=8081", "engine": PASTA, "hub_port": 8081},
            "pasta",
            ("--tcp-ns=8081",),
            True,
        ),
        ({"network": "lab", "engine": PASTA, "hub_port": 8081}, "bridge", (), True),
        ({"network": "bridge", "engine": SLIRP}, "bridge", (), True),
    ],
)
def test_network(options, network, network_options, ports):
    spec = make(**options)
    assert (spec.network, spec.network_options) == (network, network_options)
    assert spec.ports == ((Port(8888, PORT),) if ports else ())


def test_the_shell_that_reads_a_token_goes_before_everything():
    token = {"JUPYTERHUB_API_TOKEN": "t"}
    for options, words in (
        ({}, ("tini", "--", "start-notebook.py")),
        ({"args": ["-a"]}, ("tini", "--", "start-notebook.py", "-a")),
        ({"cmd": ["b"]}, ("tini", "--", "b")),
        ({"cmd": ["b"], "entrypoint": ["e"]}, ("e", "b")),
    ):
        spec = make(token_as_secret="file", environment=token, **options)
        assert (*spec.entrypoint, *spec.command)[4:] == words
        assert make(token_as_secret="env", environment=token).entrypoint is None


def test_gpus_are_devices():
    assert make(gpus=1, devices=["/dev/fuse"]).devices == ("/dev/fuse", "nvidia.com/gpu=0")


def test_named_networks():
    assert make(network="lab").networks == ("lab",)
    assert make(network="bridge").networks == ("podman",)
    assert make().networks == make(network="host").networks == ()


def test_extra_ports():
    spec = make(extra_ports=[8501, "5000/udp", "0.0.0.0:9000:9001"], host_ip="192.0.2.7")
    assert spec.ports == (
        Port(8888, PORT, "192.0.2.7"),
        Port(8501, 0, "192.0.2.7"),
        Port(5000, 0, "192.0.2.7", "udp"),
        Port(9001, 9000, "0.0.0.0"),
    )


API = "http://127.0.0.1:8081/hub/api"


@pytest.mark.parametrize(
    ("url", "network", "engine", "inside"),
    [
        (API, "private", SLIRP, "http://10.0.2.2:8081/hub/api"),
        ("http://localhost/hub/api?a=b", "private", SLIRP, "http://10.0.2.2/hub/api?a=b"),
        ("https://127.0.0.1:8081/x/", "private", SLIRP, "https://10.0.2.2:8081/x/"),
        ("http://hub.example.org:8081/", "private", SLIRP, "http://hub.example.org:8081/"),
        ("http://192.0.2.7:8081/", "private", SLIRP, "http://192.0.2.7:8081/"),
        (API, "private", PASTA, API),
        (API, "host", SLIRP, API),
        (API, "host", PASTA, API),
        ("http+unix://%2Frun%2Fhub.sock/hub/api", "private", SLIRP,
         "http+unix://%2Frun%2Fhub.sock/hub/api"),
        (API, "slirp4netns", PASTA, "http://10.0.2.2:8081/hub/api"),
        (API, "slirp4netns:cidr=10.9.0.0/24", SLIRP, "http://10.9.0.2:8081/hub/api"),
        (API, "slirp4netns:cidr=10.9.0.7/24", SLIRP, "http://10.9.0.2:8081/hub/api"),
        (API, "pasta:--map-gw", PASTA, API),
        ("http://192.0.2.7:8081/", "lab", SLIRP, "http://192.0.2.7:8081/"),
    ],
)  # fmt: skip
def test_hub_url_inside(url, network, engine, inside):
    settings = make_settings(network=network, engine=engine)
    assert hub_url_inside(url, settings) == inside
    assert hub_url_inside(inside, settings) == inside


@pytest.mark.parametrize("network", ["lab", "bridge", "slirp4netns:allow_host_loopback=false"])
def test_the_hubs_loopback_that_is_not_seen(network):
    settings = make_settings(network=network, engine=SLIRP, hub_everywhere=True)
    assert hub_url_inside(API, settings) == "http://host.containers.internal:8081/hub/api"
    with pytest.raises(SpecError, match="hub_ip = '0.0.0.0'") as caught:
        hub_url_inside(API, replace(settings, hub_everywhere=False))
    assert caught.value.option == "network"


@pytest.mark.parametrize(
    ("options", "url", "expected"),
    [
        ({}, "http://127.0.0.1:0/user/ada/", "http://0.0.0.0:8888/user/ada/"),
        ({"container_port": 80}, "https://:1/user/ada/", "https://0.0.0.0:80/user/ada/"),
        (
            {"network": "host"},
            "http://127.0.0.1:0/user/a%20b/",
            "http://127.0.0.1:18999/user/a%20b/",
        ),
        ({"network": "host", "host_ip": "::1"}, "http://x/user/", "http://[::1]:18999/user/"),
        ({}, "http+unix://%2Frun%2Fx/user/", "http+unix://%2Frun%2Fx/user/"),
    ],
)
def test_service_url(options, url, expected):
    environment = make(environment={"JUPYTERHUB_SERVICE_URL": url}, **options).environment
    assert environment == {"JUPYTERHUB_SERVICE_URL": expected}


def test_environment_values():
    spec = make(environment={"N": 1, "NONE": None, "EMPTY": "", "T": "{username}"})
    assert spec.environment == {"N": "1", "EMPTY": "", "T": "{username}"}


@pytest.mark.parametrize(
    ("image", "options", "command"),
    [
        (JOVYAN, {}, None),
        (JOVYAN, {"args": ["--debug"]}, ("start-notebook.py", "--debug")),
        (JOVYAN, {"cmd": ["a"], "args": ["--debug"]}, ("a", "--debug")),
        (JOVYAN, {"cmd": []}, ()),
        (facts("", entrypoint=["x"]), {}, None),
        (facts("", entrypoint=["x"]), {"args": ["--debug"]}, ("--debug",)),
        (facts(""), {"cmd": ["a"]}, ("a",)),
        (JOVYAN, {"entrypoint": ["e"]}, None),
        (JOVYAN, {"entrypoint": ["e"], "args": ["--debug"]}, ("--debug",)),
        (JOVYAN, {"entrypoint": ["e"], "cmd": ["a"], "args": ["b"]}, ("a", "b")),
    ],
)
def test_command(image, options, command):
    assert make(image, **options).command == command


@pytest.mark.parametrize(
    ("image", "home"),
    [
        (facts("jovyan", environment={"HOME": "/h"}, home="/p"), "/h"),
        (facts("jovyan", home="/p"), "/p"),
        (facts(""), "/root"),
        (facts("0:0"), "/root"),
        (facts("jovyan:users"), "/home/jovyan"),
        (facts("1000", working_dir="/w"), "/w"),
    ],
)
def test_image_home(image, home):
    assert image_home(image) == home


HOME = Mount("/home/ada", "/home/jovyan")


def scratch(target, *options):
    return Mount("", target, kind="tmpfs", options=options)


@pytest.mark.parametrize(
    ("options", "mounts"),
    [
        ({}, [HOME]),
        ({"home_target": ""}, []),
        ({"home_target": "{image_home}/home/"}, [Mount("/home/ada", "/home/jovyan/home")]),
        ({"home_target": "/u/{account}"}, [Mount("/home/ada", "/u/ada")]),
        ({"home_target": "/u", "home_source": "{home}/hub/{username}"},
         [Mount("/home/ada/hub/ada", "/u")]),
        ({"home_target": "/u", "home_source": "/srv/{uid}", "server": ServerName("8081", "../a")},
         [Mount("/srv/1001", "/u")]),
        ({"volumes": {"/srv/{username}": "/data"}}, [HOME, Mount("/srv/ada", "/data")]),
        ({"volumes": {"{home}/x": "{image_home}/x"}},
         [HOME, Mount("/home/ada/x", "/home/jovyan/x")]),
        ({"volumes": {"/srv": {"bind": "/{uid}/{gid}", "mode": "ro"}}},
         [HOME, Mount("/srv", "/1001/1002", read_only=True)]),
        ({"volumes": {"/srv": {"bind": "/data", "mode": "rw"}}}, [HOME, Mount("/srv", "/data")]),
        ({"volumes": {"/srv": {"bind": "/data"}}}, [HOME, Mount("/srv", "/data")]),
        ({"read_only_volumes": {"/srv": "/data"}}, [HOME, Mount("/srv", "/data", read_only=True)]),
        ({"read_only_volumes": {"/srv": {"bind": "/data"}}},
         [HOME, Mount("/srv", "/data", read_only=True)]),
        ({"volumes": {"jupyter-{username}": "/work"}},
         [HOME, Mount("jupyter-ada", "/work", kind="volume")]),
        ({"server": ServerName("8081", "../etc"), "read_only_volumes": {"w-{username}": "/w"}},
         [HOME, Mount(f"w-{slug('../etc')}", "/w", kind="volume", read_only=True)]),
        ({"volumes": {"/a": {"bind": "/a", "mode": "ro,z"}, "/b": {"bind": "/b", "mode": "Z"}}},
         [HOME, Mount("/a", "/a", read_only=True, options=["z"]),
          Mount("/b", "/b", options=["Z"])]),
        ({"mounts": [{"source": "v-{uid}", "target": "{image_home}/v/"}]},
         [HOME, Mount("v-1001", "/home/jovyan/v", kind="volume")]),
        ({"mounts": [{"type": "bind", "src": "/s", "dst": "/d", "ro": True, "relabel": "private",
                      "bind-propagation": "rshared", "options": ["noexec"]}]},
         [HOME, Mount("/s", "/d", read_only=True, options=["noexec", "Z", "rshared"])]),
        ({"mounts": [{"type": "tmpfs", "target": "/t", "tmpfs-size": "1m", "tmpfs-mode": 700}]},
         [HOME, scratch("/t", "size=1m", "mode=700")]),
        ({"mounts": [{"type": "image", "source": "a:1", "target": "/i"},
                     {"type": "image", "source": "a:1", "target": "/j", "read_only": False},
                     {"type": "overlay", "source": "/o", "target": "/o"}]},
         [HOME, Mount("a:1", "/i", kind="image", read_only=True),
          Mount("a:1", "/j", kind="image"), Mount("/o", "/o", kind="overlay")]),
        ({"tmpfs": {"/a": "1g", "/b/": 7, "/{uid}": "size=1m,mode=700"}},
         [HOME, scratch("/a", "size=1g"), scratch("/b", "size=7"),
          scratch("/1001", "size=1m", "mode=700")]),
        ({"read_only": True, "home_target": "", "tmpfs": {"/tmp": ""}, "volumes": {"/a": "/run"}},
         [Mount("/a", "/run"), scratch("/tmp"), scratch("/var/tmp", "mode=1777")]),
        ({"server": ServerName("8081", "../../etc", ".."), "volumes": {
            "/srv/{username}/{servername}": "/data"}},
         [HOME, Mount("/srv/etc---74ccf3c5b4c19a81/x---5ec1f7e700f37c3d", "/data")]),
        ({"server": ServerName("8081", "{home}"), "home_target": "",
          "volumes": {"/srv/{username}": "/data"}},
         [Mount("/srv/home---1d9982075d16a15b", "/data")]),
    ],
)  # fmt: skip
def test_mounts(options, mounts):
    assert make(**options).mounts == tuple(mounts)


@pytest.mark.parametrize(
    ("option", "remedy", "image", "options"),
    [
        ("cmd", "set the server's command", facts(""), {}),
        ("cmd", "write a list", JOVYAN, {"cmd": "jupyterhub-singleuser"}),
        ("home_target", "or to '' for nowhere", facts("1000", command=["a"]), {}),
        ("home_target", "known: {account}", JOVYAN, {"home_target": "/{nothing}"}),
        ("home_target", "unknown field", JOVYAN, {"home_target": "/{home.x}"}),
        ("home_target", "absolute", JOVYAN, {"home_target": "home"}),
        ("home_target", "no place", JOVYAN, {"home_target": "/"}),
        ("home_source", "unknown field", JOVYAN, {"home_source": "{home}/{nothing}"}),
        ("home_source", "absolute path", JOVYAN, {"home_source": "hub/{username}"}),
        ("home_source", "without '..'", JOVYAN, {"home_source": "{home}/../{username}"}),
        ("home_source", "whole home.*'/home/ada'$", JOVYAN,
         {"one_account": True, "server": ServerName("8081", "bob")}),
        ("home_source", "the same for two users", JOVYAN,
         {"one_account": True, "home_source": "{home}/{username}-{servername}"}),
        ("volumes", "the same for two users", JOVYAN,
         {"one_account": True, "volumes": {"of-{username}-{servername}": "/a"}}),
        ("read_only_volumes", "the same for two users", JOVYAN,
         {"one_account": True, "read_only_volumes": {"/srv/{servername}-{username}": "/a"}}),
        ("mounts", "the same for two users", JOVYAN,
         {"one_account": True, "mounts": [{"src": "{username}{servername}", "target": "/a"}]}),
        ("mounts", "the same for two users", JOVYAN,
         {"one_account": True, "mounts": [
             {"type": "overlay", "source": "/srv/{username}---{servername}", "target": "/a"}]}),
        ("secrets", "the same for two users", JOVYAN,
         {"one_account": True, "secrets": [{"source": "of-{username}-{servername}"}]}),
        ("healthcheck", "did you mean cmd", JOVYAN, {"healthcheck": {"cmds": "true"}}),
        ("healthcheck", "leave it out", JOVYAN, {"healthcheck": {"cmd": ["CMD-SHELL", "true"]}}),
        ("working_dir", "unknown field", JOVYAN, {"working_dir": "/{nothing}"}),
        ("working_dir", "absolute", JOVYAN, {"working_dir": "work"}),
        ("volumes", "unknown field", JOVYAN, {"volumes": {"/{nothing}": "/a"}}),
        ("volumes", "absolute", JOVYAN, {"volumes": {"./data": "/a"}}),
        ("volumes", "absolute", JOVYAN, {"volumes": {"": "/a"}}),
        ("volumes", "absolute", JOVYAN, {"volumes": {"/data": "a"}}),
        ("volumes", "must be a path", JOVYAN, {"volumes": {"/data": {"mode": "ro"}}}),
        ("volumes", "must be a path", JOVYAN, {"volumes": {"/data": {"bind": "/a", "mode": 1}}}),
        ("volumes", "must be a path", JOVYAN, {"volumes": {"/data": {"bind": "/a", "x": "ro"}}}),
        ("volumes", "no option", JOVYAN, {"volumes": {"/data": {"bind": "/a", "mode": "x"}}}),
        ("volumes", "not to be", JOVYAN, {"volumes": {"/a": {"bind": "/a", "mode": "ro,rw"}}}),
        ("mounts", "did you mean target", JOVYAN, {"mounts": [{"traget": "/a"}]}),
        ("mounts", "must have a target", JOVYAN, {"mounts": [{"source": "a"}]}),
        ("mounts", "must have a target", JOVYAN, {"mounts": [{"source": 1, "target": "/a"}]}),
        ("mounts", "no kind", JOVYAN, {"mounts": [{"type": "glob", "target": "/a"}]}),
        ("mounts", "True or False", JOVYAN,
         {"mounts": [{"source": "a", "target": "/a", "ro": "yes"}]}),
        ("mounts", "shared or private", JOVYAN,
         {"mounts": [{"source": "a", "target": "/a", "relabel": "z"}]}),
        ("mounts", "unknown field", JOVYAN, {"mounts": [{"source": "{x}", "target": "/a"}]}),
        ("mounts", "no option", JOVYAN,
         {"mounts": [{"type": "tmpfs", "target": "/a", "tmpfs-size": "lots"}]}),
        ("mounts", "absolute", JOVYAN,
         {"mounts": [{"type": "bind", "source": "../a", "target": "/a"}]}),
        ("mounts", "two mounts", JOVYAN,
         {"volumes": {"/b": "/a"}, "mounts": [{"source": "a", "target": "/a/"}]}),
        ("volumes", "home_target", JOVYAN, {"volumes": {"/data": "/home/jovyan"}}),
        ("read_only_volumes", "volumes only", JOVYAN,
         {"read_only_volumes": {"/data": {"bind": "/a", "mode": "rw"}}}),
        ("read_only_volumes", "unknown field", JOVYAN, {"read_only_volumes": {"/d": "/{x}"}}),
        ("network", "Use 'private'", JOVYAN, {"network": "none"}),
        ("network", "Use 'private'", JOVYAN, {"network": "container:abc"}),
        ("network", "Use 'private'", JOVYAN, {"network": "ns:/run/netns/a"}),
        ("network", "is neither", JOVYAN, {"network": ""}),
        ("network", "is neither", JOVYAN, {"network": "my net"}),
        ("network", "is neither", JOVYAN, {"network": "lab:ip=10.0.0.2"}),
        ("network", "is neither", JOVYAN, {"network": "private:mtu=1500"}),
        ("network", "with mtu", JOVYAN, {"network": "slirp4netns:mut=1500"}),
        ("network", "NAME=VALUE", JOVYAN, {"network": "slirp4netns:mtu"}),
        ("network", "is no network", JOVYAN, {"network": "slirp4netns:cidr=lab"}),
        ("network", "this is 4.3.1", JOVYAN, {"network": "pasta", "engine": SLIRP}),
        ("network", "package passt", JOVYAN, {"network": "pasta", "engine": Engine((5, 4, 2))}),
        ("extra_ports", "the host's own", JOVYAN, {"network": "host", "extra_ports": [1]}),
        ("extra_ports", "no port to publish", JOVYAN, {"extra_ports": ["a"]}),
        ("dns_search", "no host name", JOVYAN, {"dns_search": ["a b"]}),
        ("dns_options", "such as 'ndots:2'", JOVYAN, {"dns_options": ["ndots 2"]}),
        ("port", "choose another port", JOVYAN, {"engine": PASTA, "hub_port": 8888}),
        ("port", "1 to 65535", JOVYAN, {"container_port": 0}),
        ("host_ip", "literal", JOVYAN, {"host_ip": "localhost"}),
        ("user_mapping", "'auto'", JOVYAN, {"user_mapping": "nomap"}),
        ("home_target", "to '' and give users a volume", JOVYAN, {"user_mapping": "auto-userns"}),
        ("home_target", "to ''", JOVYAN, {"user_mapping": "0:1:65536"}),
        ("supplemental_gids", "choose one", JOVYAN,
         {"supplemental_gids": [1], "keep_groups": True}),
        ("name_template", "add {username}", JOVYAN, {"name_template": "jupyter"}),
        ("mem_limit", "None for no limit", JOVYAN, {"mem_limit": -1}),
        ("cpu_limit", "None for no limit", JOVYAN, {"cpu_limit": 0}),
        ("gpus", "no GPU", JOVYAN, {"gpus": "a b"}),
        ("mem_guarantee", "more than mem_limit", JOVYAN,
         {"mem_limit": 1 << 30, "mem_guarantee": 2 << 30}),
        ("memswap_limit", "less than mem_limit", JOVYAN, {"memswap_limit": 1 << 30}),
        ("stop_signal", "use a name", JOVYAN, {"stop_signal": "x"}),
        ("stop_timeout", "0 or more", JOVYAN, {"delete_grace_period": -1}),
        ("entrypoint", "write a list", JOVYAN, {"entrypoint": "tini --"}),
        ("container_user", "such as '1000:100'", JOVYAN, {"container_user": "{username}"}),
        ("hostname", "unknown field", JOVYAN, {"hostname": "{nothing}"}),
        ("hostname", "no host name", JOVYAN, {"hostname": "{home}"}),
        ("tmpfs", "unknown field", JOVYAN, {"tmpfs": {"/{nothing}": "1g"}}),
        ("tmpfs", "absolute", JOVYAN, {"tmpfs": {"scratch": "1g"}}),
        ("tmpfs", "no option", JOVYAN, {"tmpfs": {"/scratch": "lots"}}),
        ("tmpfs", "no option", JOVYAN, {"tmpfs": {"/scratch": "rw,uid=1000"}}),
        ("extra_hosts", "host.containers.internal", JOVYAN,
         {"extra_hosts": {"a": "host-gateway"}}),
        ("tmpfs", "no option", JOVYAN, {"tmpfs": {"/scratch": -1}}),
        ("tmpfs", "no option", JOVYAN, {"tmpfs": {"/scratch": "size=1g,z"}}),
        ("tmpfs", "options as a text", JOVYAN, {"tmpfs": {"/scratch": None}}),
        ("tmpfs", "options as a text", JOVYAN, {"tmpfs": {"/scratch": True}}),
        ("tmpfs", "two mounts", JOVYAN, {"tmpfs": {"/home/jovyan": ""}}),
        ("environment", "NUL", JOVYAN, {"environment": {"A": "\0"}}),
        ("extra_labels", "texts", JOVYAN, {"extra_labels": {"a": 1}}),
    ],
)  # fmt: skip
def test_refused(option, remedy, image, options):
    with pytest.raises(SpecError, match=remedy) as caught:
        make(image, **options)
    assert caught.value.option == option


def test_names_that_tell_two_users_apart_in_one_account():
    make(
        one_account=True,
        home_source="{home}/{username}/of-{servername}",
        volumes={"{username}--{servername}": "/a", "x{servername}.of_{username}": "/b"},
        secrets=[
            {"source": "of-{username}--{servername}-key"},
            {"source": "a-{username}-{servername}-b", "value": "made for the server"},
        ],
    )
    make(volumes={"{username}-{servername}": "/a"})  # each user has an account


def test_the_home_of_an_account_is_its_owners():
    make(one_account=True)  # the Hub's user has the account's name
    bob = {"one_account": True, "server": ServerName("8081", "bob")}
    make(home_target="", **bob)
    make(home_source="/home/ada", **bob)
    make(home_source="{home}/users/{username}", **bob)


def test_whose_volumes_are_labelled():
    """By their templates: the user's, the server's; those of all others carry no label."""
    settings = ServerSettings(
        image="a",
        server=ServerName("8081", "Ada", "s"),
        volumes={
            "a-{username}": "/a",
            "b-{username}-{servername}": "/b",
            "{home}/{username}": "/c",
        },
        read_only_volumes={"d": "/d", "/srv/{username}": "/e", "{username}.ro": "/f"},
        mounts=[
            {"source": "g-{username}", "target": "/g"},
            {"type": "bind", "source": "/h/{username}", "target": "/h"},
            {"type": "volume", "src": "i-{servername}", "target": "/i"},
            {"type": "tmpfs", "target": "/j"},
        ],
    )
    user = {HUB_LABEL: "8081", USERNAME_LABEL: "Ada"}
    ada = slug("Ada")
    assert volumes(settings, JOVYAN, ACCOUNT) == {
        f"a-{ada}": user,
        f"b-{ada}-s": {**user, SERVERNAME_LABEL: "s"},
        f"{ada}.ro": user,
        f"g-{ada}": user,
    }


HUB = ("DNS:localhost", "IP:127.0.0.1")


def inside(host):
    return {"JUPYTERHUB_API_URL": f"https://{host}:8081/hub/api"}


@pytest.mark.parametrize(
    ("names", "host", "hosts"),
    [
        ((*HUB, "IP:10.0.2.2", "DNS:hub.example.org"), "10.0.2.2", {}),
        ((*HUB, "DNS:a.example.org"), "a.example.org", {"a.example.org": "10.0.2.2"}),
        (
            (*HUB, "DNS:a.example.org", "DNS:hub.internal", "DNS:*.org"),
            "hub.internal",
            {"hub.internal": "10.0.2.2"},
        ),
    ],
)
def test_the_hubs_name_behind_slirp4netns(names, host, hosts):
    assert by_name(inside("10.0.2.2"), names) == (inside(host), hosts)


def test_the_hubs_name_in_a_named_network():
    urls = inside("host.containers.internal")
    assert by_name(urls, (*HUB, "DNS:host.containers.internal")) == (urls, {})
    with pytest.raises(SpecError, match='"DNS:host.containers.internal"'):
        by_name(urls, (*HUB, "DNS:hub.internal"))


@pytest.mark.parametrize("names", [(), HUB, (*HUB, "DNS:*.example.org", "IP:192.0.2.7")])
def test_a_hub_without_a_name_behind_slirp4netns(names):
    with pytest.raises(SpecError, match="trusted_alt_names.*recreate_internal_certs.*pasta"):
        by_name(inside("10.0.2.2"), names)


def test_certificates_are_in_the_environment_by_their_paths_only():
    secret = Certificates(key=b"secret key", certificate=b"cert", authorities=b"ca")
    environment = {"JUPYTERHUB_SSL_KEYFILE": "/srv/hub/ada.key"}
    spec = make(certificates=secret, environment=environment)
    assert spec.environment["JUPYTERHUB_SSL_KEYFILE"] == "/etc/podmanspawner/internal-ssl.key"
    assert "secret key" not in str(spec.to_json()) + repr(secret)
    again = replace(secret, key=b"another")
    assert make(certificates=again, environment=environment).fingerprint() == spec.fingerprint()


def test_image_is_needed():
    with pytest.raises(SpecError, match="name one"):
        build(ServerSettings(image="", server=ServerName("h", "ada")), JOVYAN, ACCOUNT, port=1)


def test_the_user_of_the_administrators_choice():
    assert make(container_user="7:8", user_mapping="keep-id:uid=7,gid=9").user == "7:8"
    assert make(user_mapping="keep-id:uid=7,gid=9").user == "7:9"
    assert make(container_user="").user is None


@pytest.mark.parametrize(
    ("mapping", "remedy"),
    [
        ("0:1:101", "uids go up to the account's subordinate id 101.*has 100.*/etc/subuid"),
        ("0:1:100;0:1:51,51:0:1", "gids.* 51, .*has 50.*/etc/subgid"),
        ("auto-userns:size=51", "more than the account's 50"),
    ],
)
def test_a_mapping_that_the_account_has_no_ids_for(mapping, remedy):
    account = replace(
        ACCOUNT, subuids=(IdRange(1000, 90), IdRange(9, 10)), subgids=(IdRange(9, 50),)
    )
    settings = ServerSettings(image="a", server=ServerName("h", "ada"), home_target="")
    with pytest.raises(SpecError, match=remedy) as caught:
        build(replace(settings, user_mapping=mapping), JOVYAN, account, port=1)
    assert caught.value.option == "user_mapping"
    build(replace(settings, user_mapping="0:1:50"), JOVYAN, account, port=1)


def test_names_of_users_are_slugs_in_host_names():
    assert make(hostname="{username}").hostname == "ada"
    server = ServerName("8081", "Ada\n127.0.0.1 evil")
    assert make(server=server, hostname="{username}.lab").hostname.startswith("ada-127-0-0-")


def test_a_hook_has_the_last_word():
    def hook(spec):
        assert spec["init"] is True
        spec["env"]["A"] = "2"
        del spec["init"], spec["env"]["B"]
        return {**spec, "timezone": "local"}

    environment = {"A": "1", "B": "1"}
    plain = make(environment=environment)
    spec = make(environment=environment, extra_spec={"timezone": "UTC"}, modify_spec=hook)
    body = {**plain.to_json(), "env": {"A": "2"}, "timezone": "local"}
    del body["init"]
    changed = {**spec.to_json(), "labels": {}}
    assert changed == {**body, "labels": {}}
    assert spec.labels[FINGERPRINT_LABEL] == spec.fingerprint() != plain.fingerprint()
    assert make(modify_spec=lambda spec: spec) == make()


@pytest.mark.parametrize(
    ("remedy", "hook"),
    [
        ("returned NoneType", lambda _spec: None),
        ("did you mean hostname", lambda spec: {**spec, "hostnam": "a"}),
        ("name_template", lambda spec: {**spec, "name": "a"}),
        ("extra_labels", lambda spec: {**spec, "labels": {}}),
        ("reached by", lambda spec: {**spec, "portmappings": []}),
        ("JSON", lambda spec: {**spec, "hostname": b"a"}),
    ],
)
def test_a_hook_that_is_refused(remedy, hook):
    with pytest.raises(SpecError, match=remedy) as caught:
        make(modify_spec=hook)
    assert caught.value.option == "modify_spec_hook"


def test_kept_groups_are_an_annotation():
    annotations = make(keep_groups=True, extra_annotations={"a": "b"}).annotations
    assert annotations == {"a": "b", "run.oci.keep_original_groups": "1"}
    assert make().annotations == {}


def test_labels():
    server = ServerName("8081", "Ada", "x")
    spec = make(server=server, extra_labels={"team": "a", "podmanspawner.hub": "forged"})
    assert spec.labels == {
        "team": "a",
        **server.labels(),
        IMAGE_LABEL: JOVYAN.id,
        FINGERPRINT_LABEL: spec.fingerprint(),
    }
    assert ServerName.from_labels(spec.labels) == server


def test_root_image_needs_no_facts():
    spec = make(ROOT_IMAGE)
    assert (spec.user_mapping, spec.mounts) == (ROOT, (Mount("/home/ada", "/root"),))
    assert IMAGE_LABEL not in spec.labels


def test_another_port_is_the_same_container():
    assert make(port=1).fingerprint() == make(port=2).fingerprint()


def test_another_image_is_another_container():
    newer = ImageFacts(id="aa" * 32, user="jovyan", environment=STACKS, command=["x"])
    assert make().labels[FINGERPRINT_LABEL] != make(newer).labels[FINGERPRINT_LABEL]
