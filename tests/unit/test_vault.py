"""Which secrets a server gets, and under which names they are made."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from podmanspawner import vault
from podmanspawner.errors import SpecError
from podmanspawner.names import ServerName
from podmanspawner.secrets import Secret
from podmanspawner.settings import ServerSettings

ADA = ServerName("8081", "Ada")
OWN = vault.prefix(ADA)
TOKENS = {"JUPYTERHUB_API_TOKEN": "t", "JPY_API_TOKEN": "t", "A": 1}


def settings(*entries, **options):
    return ServerSettings(image="a", server=ADA, secrets=entries, **options)


def test_every_server_has_names_of_its_own():
    servers = [
        ADA,
        ServerName("8081", "ada"),
        ServerName("8081", "Ada", "a"),
        ServerName("1", "Ada"),
    ]
    prefixes = {vault.prefix(each) for each in servers}
    assert len(prefixes) == len(servers)
    assert all(re.fullmatch(r"podmanspawner-[0-9a-f]{16}-", each) for each in prefixes)


@pytest.mark.parametrize(
    ("entry", "secret"),
    [
        ("a", Secret("a")),
        ("a,target=b", Secret("a", target="b")),
        ("a,type=env,target=B", Secret("a", "env", "B")),
        ("a,type=mount,uid=1,gid=2,mode=0440", Secret("a", uid=1, gid=2, mode=0o440)),
        ({"source": "a", "mode": 0o400}, Secret("a", mode=0o400)),
        ({"source": "a", "mode": "400"}, Secret("a", mode=0o400)),
        ("db-{username}", Secret("db-ada---99a563ab2f6e21e9")),
        ({"source": "a", "value": "x"}, Secret(f"{OWN}a", target="a")),
        ({"source": "A", "value": "x", "type": "env"}, Secret(f"{OWN}A", "env", "A")),
    ],
)
def test_uses(entry, secret):
    assert vault.uses(settings(entry)) == (secret,)


def test_values():
    found = settings("a", {"source": "b", "value": "x"}, {"source": "c", "value": lambda: b"y"})
    assert vault.values(found) == {f"{OWN}b": "x", f"{OWN}c": b"y"}
    assert vault.values(settings("a")) == {}


def test_the_token_leaves_the_environment():
    hidden = settings(token_as_secret="env", environment=TOKENS)
    assert vault.environment(hidden) == {"A": 1}
    assert vault.values(hidden) == {f"{OWN}api-token": "t"}
    assert [secret.name for secret in vault.uses(hidden)] == [
        "JUPYTERHUB_API_TOKEN",
        "JPY_API_TOKEN",
    ]
    assert vault.entrypoint(hidden, ["tini"]) == ("tini",)
    file = replace(hidden, token_as_secret="file")
    assert vault.environment(file) == {"A": 1}
    assert vault.uses(file) == (Secret(f"{OWN}api-token", target="jupyterhub-api-token"),)
    assert vault.values(file) == vault.values(hidden)
    assert vault.labels(file, vault.values(file)) == {vault.SECRETS_LABEL: ""}
    *shell, _script, name, program = vault.entrypoint(file, ["tini"])
    assert (shell, name, program) == (["sh", "-c"], "sh", "tini")
    plain = replace(hidden, token_as_secret=False)
    assert vault.environment(plain) == TOKENS
    assert vault.uses(plain) == ()


def test_the_label_changes_with_what_is_mounted():
    def label(file, variable="v"):
        given = settings(
            {"source": "f", "value": file},
            {"source": "V", "value": variable, "type": "env"},
        )
        return vault.labels(given, vault.values(given))[vault.SECRETS_LABEL]

    assert label("a") == label("a") == label("a", "w")
    assert len({label("a"), label("b"), label(b"a")}) == 3
    assert vault.labels(settings("a"), {}) == {}
    hidden = settings(token_as_secret="env", environment=TOKENS)
    assert vault.labels(hidden, vault.values(hidden)) == {vault.SECRETS_LABEL: ""}


@pytest.mark.parametrize(
    ("remedy", "entry"),
    [
        ("no source", {}),
        ("no source", {"source": 1}),
        ("no name of a secret", ""),
        ("no name of a secret", "../a"),
        ("no name of a secret", "a/b,type=env"),
        ("unknown field", "{home}"),
        ("did you mean target", "a,taget=b"),
        ("mount or env", "a,type=file"),
        ("no name of a variable", "a-b,type=env"),
        ("no name of a variable", "a,type=env,target=A=B"),
        ("absolute|plain|'..'", "a,target=../b"),
        ("mode is '9'", "a,mode=9"),
        ("mode is", {"source": "a", "mode": None}),
        ("at most 777", "a,mode=4755"),
        ("uid is 'root'", "a,uid=root"),
        ("from 0 on", {"source": "a", "uid": -1}),
        ("too long", {"source": "a" * 33, "value": "x"}),
    ],
)
def test_refused(remedy, entry):
    with pytest.raises(SpecError, match=remedy) as caught:
        vault.uses(settings(entry))
    assert caught.value.option == "secrets"


@pytest.mark.parametrize("value", [None, 1, lambda: None, ["a"]])
def test_a_value_that_is_no_text(value):
    with pytest.raises(SpecError, match=r"the value of 'a' is .* give a text"):
        vault.values(settings({"source": "a", "value": value}))
