"""What ``names`` guarantees, for any text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmanspawner.errors import SpecError
from podmanspawner.names import ServerName, expand, of_hub, slug

TEXTS = st.one_of(
    st.text(max_size=60),
    st.text("ab-", max_size=6),  # small alphabet: finds two that meet
    st.lists(st.sampled_from(["a", "b", "-", "--", "---", "0123456789abcdef"]), max_size=6).map(
        "".join
    ),
)
SERVERS = st.builds(ServerName, TEXTS, TEXTS, TEXTS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ada", "ada"),
        ("ada-lovelace", "ada-lovelace"),
        ("8081", "8081"),
        ("a" * 40, "a" * 40),
        ("Ada", "ada---99a563ab2f6e21e9"),
        ("a--b", "a-b---90827a2e56361a8f"),
        ("ada@example.org", "ada-example-org---cfe00dde46ef9426"),
        ("-ada", "ada---f32a7c99de731a5f"),
        ("", "x---e3b0c44298fc1c14"),
        ("..", "x---5ec1f7e700f37c3d"),
        ("ü", "x---607474ca475a9724"),
        ("a" * 41, "aaaaaaaaaaaaaaaaaaaaa---c0f8bd4dbc2b0c03"),
    ],
)
def test_slug(text, expected):
    assert slug(text) == expected


@given(TEXTS)
def test_slug_is_safe(text):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*(---[0-9a-f]{16})?", slug(text))
    assert len(slug(text)) <= 40


@given(TEXTS, TEXTS)
def test_slugs_differ(one, other):
    assert (slug(one) == slug(other)) == (one == other)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (ServerName("8081", "ada"), "jupyter-8081--ada"),
        (ServerName("8081", "ada", "a"), "jupyter-8081--ada--a"),
        (ServerName("8081", "Ada", "a b"), f"jupyter-8081--{slug('Ada')}--{slug('a b')}"),
    ],
)
def test_container(server, expected):
    assert server.container() == expected


@pytest.mark.parametrize(
    ("template", "default", "named"),
    [
        ("jupyter-{username}", "jupyter-ada", "jupyter-ada--a"),
        ("{prefix}.{username}.{servername}", "jupyter.ada.", "jupyter.ada.a"),
        ("x-{servername}--{username}", "x---ada", "x-a--ada"),
    ],
)
def test_container_template(template, default, named):
    assert ServerName("8081", "ada").container(template=template) == default
    assert ServerName("8081", "ada", "a").container(template=template) == named


@pytest.mark.parametrize(
    ("template", "remedy"),
    [
        ("jupyter", "add {username}"),
        ("{username}{servername}", "leave {servername} out"),
        ("{username}-{servername}", "leave {servername} out"),
        ("-{username}", "letter or digit first"),
        ("{{username}}", "letters, digits"),
        ("a b {username}", "letters, digits"),
        ("{username}{user}", "known: {hub}, {prefix}, {servername}, {username}"),
        ("x" * 200 + "{username}", "at most 200"),
    ],
)
def test_bad_template(template, remedy):
    with pytest.raises(SpecError, match=re.escape(remedy)) as caught:
        ServerName("8081", "ada", "a").container(template=template)
    assert caught.value.option == "name_template"


def test_bad_prefix():
    with pytest.raises(SpecError, match="change prefix"):
        ServerName("8081", "ada").container("my hub")


@given(SERVERS)
def test_container_is_valid(server):
    assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", server.container())
    assert len(server.container()) <= 200


@given(SERVERS, SERVERS)
def test_containers_differ(one, other):
    assert (one.container() == other.container()) == (one == other)


@given(SERVERS)
def test_container_can_be_read_back(server):
    parts = re.split(r"(?<!-)--(?!-)", server.container().removeprefix("jupyter-"))
    texts = [server.hub, server.username] + [server.servername] * bool(server.servername)
    assert parts == [slug(text) for text in texts]


@given(TEXTS, TEXTS, TEXTS, TEXTS)
@pytest.mark.parametrize(
    "template", ["{username}", "{username}--{servername}", "{servername}.{username}-x"]
)
def test_templates_tell_servers_apart(template, user, server, other_user, other_server):
    one, other = ServerName("h", user, server), ServerName("h", other_user, other_server)
    names = [name.container(template="j-" + template) for name in (one, other)]
    assert (names[0] == names[1]) == (one == other)


@given(SERVERS)
def test_labels_and_back(server):
    labels = {**server.labels(), "other": "label"}
    assert ServerName.from_labels(labels) == server


@pytest.mark.parametrize(
    "change",
    [
        {"podmanspawner.hub": None},
        {"hub.jupyter.org/username": 1},
        {"hub.jupyter.org/servername": []},
    ],
)
def test_labels_of_others(change):
    assert ServerName.from_labels({}) is None
    assert ServerName.from_labels({**ServerName("8081", "ada").labels(), **change}) is None


FIELDS = {"username": "ada", "home": "/home/{username}", "uid": "1001"}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", ""),
        ("/srv/{username}", "/srv/ada"),
        ("{home}/{uid}", "/home/{username}/1001"),  # values are not templates
        ("{{username}}", "{username}"),
        ("{{{username}}}", "{ada}"),
        ("%s $HOME \\1", "%s $HOME \\1"),
    ],
)
def test_expand(template, expected):
    assert expand(template, FIELDS) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{}", "{0}", "{user}", "{username.__class__}", "{username[0]}", "{username!r}",
        "{username:>9}", "{ username}", "{", "}", "{username", "username}", "{username}}",
        "{{username}", "{a{username}}",
    ],
)  # fmt: skip
def test_expand_knows_nothing_else(template):
    with pytest.raises(SpecError) as caught:
        expand(template, FIELDS, option="volumes")
    assert caught.value.option == "volumes"


def test_unknown_field_names_those_known():
    with pytest.raises(ValueError, match=r"\{user\}; known: \{home\}, \{uid\}, \{username\}"):
        expand("/srv/{user}", FIELDS)


@given(st.text(), st.text())
def test_values_stay_as_they_are(value, template):
    doubled = template.replace("{", "{{").replace("}", "}}")
    assert expand(doubled + "{x}", {"x": value}) == template + value


@given(SERVERS, st.sampled_from(["{prefix}-{hub}--{username}", "nb.{username}--{servername}"]))
def test_the_names_of_a_hub_are_known(server, template):
    assert of_hub(server.hub, "a.b", template).match(server.container("a.b", template))


def test_the_names_of_another_hub_are_told_apart():
    ours = of_hub("8081")
    assert ours.match(ServerName("8081", "Ada", "a").container())
    assert not ours.match(ServerName("8082", "Ada", "a").container())
    assert not ours.match("my-jupyter-8081--ada")
    assert not of_hub("8081", "a.b").match("axb-8081--ada")
