"""A Hub with ``internal_ssl``: Hub, proxy and servers prove themselves to each other."""

from __future__ import annotations

import ssl
import urllib.request
from pathlib import Path

import pytest

CONFIG = """
c.JupyterHub.internal_ssl = True
c.ConfigurableHTTPProxy.api_url = c.ConfigurableHTTPProxy.api_url.replace("http:", "https:")
c.JupyterHub.trusted_alt_names = ["DNS:hub.internal"]
"""
WRAPPED = """
c.JupyterHub.spawner_class = "wrapspawner.ProfilesSpawner"
import podmanspawner
c.ProfilesSpawner.profiles = [("One", "one", podmanspawner.PodmanSpawner, {})]
"""
ASK_THE_HUB = """
import os, ssl, urllib.request
names = ["CLIENT_CA", "CERTFILE", "KEYFILE"]
ca, cert, key = (os.environ[f"JUPYTERHUB_SSL_{name}"] for name in names)
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(cert, key)
url = os.environ["JUPYTERHUB_API_URL"]
print(url.split(":")[0], urllib.request.urlopen(url + "/", context=context).status)
"""
LOOK_AT_THE_KEY = """
import os
key = os.environ["JUPYTERHUB_SSL_KEYFILE"]
folder = os.path.dirname(key)
for path in (folder, *sorted(os.path.join(folder, name) for name in os.listdir(folder))):
    seen = os.stat(path)
    assert (seen.st_uid, seen.st_gid) == (os.getuid(), os.getgid()), path
    print(oct(seen.st_mode & 0o777))
"""


@pytest.fixture(params=["", WRAPPED], ids=["alone", "wrapped"])
def hub(request, make_hub):
    return make_hub(CONFIG + request.param)


def everything(folder):
    return {path: path.lstat().st_uid for path in Path(folder).rglob("*")}


def test_servers_work_and_their_keys_are_theirs(hub, users):
    user = users[0]
    hub.begin(user.name, options={"profile": "one"} if WRAPPED in hub.config.read_text() else None)
    assert hub.notebook(user.name).compute("print(6*7)") == "42\n"
    assert hub.notebook(user.name).compute(ASK_THE_HUB) == "https 200\n"
    assert hub.notebook(user.name).compute(LOOK_AT_THE_KEY) == "0o500\n0o400\n0o400\n0o400\n"
    hub.begin(user.name, "a", options={"profile": "one"})
    assert hub.notebook(user.name, "a").compute("print(6*7)") == "42\n"
    assert hub.notebook(user.name).compute("print(6*7)") == "42\n"
    for name in ("", "a"):
        hub.end(user.name, name)
    assert user.containers() == []


def test_nobody_without_a_certificate_of_the_hub_gets_an_answer(make_hub, users):
    user = users[0]
    hub = make_hub(CONFIG)
    hub.begin(user.name)
    (port,) = user.podman("port", "-l").split(":")[-1:]
    stranger = ssl.create_default_context()
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    with pytest.raises((OSError, ssl.SSLError)):
        urllib.request.urlopen(f"https://127.0.0.1:{port.strip()}/", context=stranger, timeout=5)
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port.strip()}/", timeout=5)
    hub.end(user.name)


def test_root_writes_nothing_in_a_users_folders(make_hub, users):
    user = users[0]
    hub = make_hub(CONFIG + "c.PodmanSpawner.read_only = True\n")
    before = everything(user.account.home)
    hub.begin(user.name)
    owners = everything(user.account.home)
    assert 0 not in owners.values()
    new = [path for path in owners.keys() - before.keys() if "containers" not in path.parts]
    assert not [path for path in new if path.suffix in (".key", ".crt", ".pem")]
    runtime = everything(user.account.runtime_dir)
    assert 0 not in {uid for path, uid in runtime.items() if path.suffix in (".key", ".crt")}
    assert hub.notebook(user.name).compute("print(6*7)") == "42\n"
    hub.end(user.name)


def test_a_kept_container_gets_new_certificates(make_hub, users):
    user = users[0]
    hub = make_hub(CONFIG + "c.PodmanSpawner.remove = False\n")
    read = "import os; print(open(os.environ['JUPYTERHUB_SSL_CERTFILE']).read())"
    first = hub.begin(user.name)["state"]["container_id"]
    one = hub.notebook(user.name).compute(read)
    hub.end(user.name)
    assert hub.begin(user.name)["state"]["container_id"] == first
    assert hub.notebook(user.name).compute(read) != one
    assert hub.notebook(user.name).compute(ASK_THE_HUB) == "https 200\n"
    hub.end(user.name)
    user.podman("rm", first)


def test_another_address_is_in_the_servers_certificate(make_hub, users):
    hub = make_hub(CONFIG + 'c.PodmanSpawner.host_ip = "127.0.0.2"\n')
    hub.begin(users[0].name)
    assert hub.notebook(users[0].name).compute("print(6*7)") == "42\n"
    hub.end(users[0].name)


def test_a_certificate_for_another_address_is_told(make_hub, users):
    hub = make_hub(
        CONFIG + 'c.PodmanSpawner.host_ip = "127.0.0.2"\nc.Spawner.ssl_alt_names = []\n'
    )
    message = hub.fail_to_begin(users[0].name)
    assert "ssl_alt_names" in message
    assert "IP:127.0.0.2" in message
    assert users[0].containers() == []
