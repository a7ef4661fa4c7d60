"""What users may choose, and what comes of it: tables, and texts that nobody thought of."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmanspawner import SpecError, options
from podmanspawner.errors import ChoiceError
from podmanspawner.menu import MAX_LENGTH, UNLISTED, Menu, images, menu, profiles

CHANGEABLE = {"image", "environment", "mem_limit", "shm_size", "cmd", "volumes"}


def changeable(name):
    return "" if name in CHANGEABLE else f"{name!r} is no option"


def offer(allowed_images=(), profile_list=(), image="default:1"):
    return menu(allowed_images, profile_list, image=image, changeable=changeable)


SMALL = {"display_name": "Small", "overrides": {"mem_limit": "1G"}}
LARGE = {
    "display_name": "Large & slow",
    "slug": "large",
    "description": "for <big> data",
    "default": True,
    "overrides": {"mem_limit": "8G", "environment": {"SIZE": "large"}},
    "profile_options": {
        "image": {
            "display_name": "Image",
            "choices": {
                "python": {"display_name": "Python", "overrides": {"image": "py:1"}},
                "r": {"display_name": "R", "default": True, "overrides": {"image": "r:1"}},
            },
            "unlisted_choice": {
                "enabled": True,
                "display_name": "Image of your own",
                "validation_regex": "[a-z/.]+:[0-9]+",
                "validation_message": "Give a tag.",
                "overrides": {"image": "{value}", "environment": {"OWN": "{value}", "A": "b"}},
            },
        },
        "note": {
            "display_name": "Note",
            "unlisted_choice": {
                "enabled": True,
                "overrides": {"environment": {"NOTE": "{value}"}},
            },
        },
    },
}
LISTED = offer(["a:1", "b:1"])
NAMED = offer({"One": "a:1", "Two": "{username}/b:1"}, image="{username}/b:1")
ANY = offer("*")
PROFILES = offer(profile_list=[SMALL, LARGE])
NOTHING = offer()


# what administrators write


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a:1", "b:1"], {"a:1": "a:1", "b:1": "b:1"}),
        (("a:1", "a:1"), {"a:1": "a:1"}),
        ({"One": "a:1"}, {"One": "a:1"}),
    ],
)
def test_images(value, expected):
    assert images(value) == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a:1", "no choice of images"),
        (5, "no choice of images"),
        ([1], "no choice of images"),
        ({"One": 1}, "'One'.*must be texts"),
        ({1: "a"}, "'1'.*must be texts"),
        ({"": "a"}, "printable"),
        ({"One": ""}, "'One'.*a reference must follow"),
        ({"One\nTwo": "a"}, "printable"),
        ({"x" * 1001: "a"}, "at most 1000"),
    ],
)
def test_what_is_no_choice_of_images(value, said):
    with pytest.raises(SpecError, match=f"^allowed_images: .*{said}"):
        offer(value)


def wrong(**changes):
    return [{**SMALL, **changes}]


def wrong_option(**changes):
    option = {"display_name": "Size", "choices": {"a": {"display_name": "A"}}, **changes}
    return wrong(profile_options={"size": option})


def wrong_choice(**changes):
    return wrong_option(choices={"a": {"display_name": "A", **changes}})


def wrong_unlisted(**changes):
    return wrong_option(unlisted_choice={"enabled": True, **changes})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"display_name": "Small"}, "no list of profiles"),
        (["small"], "'small' has no display_name"),
        ([{}], "no display_name"),
        (wrong(display_name=" "), "no display_name"),
        (wrong(display_name="…"), "profile '…': the slug is ''"),
        (wrong(slug="a b"), "'a b'.*letters, digits"),
        (wrong(slug="a--b"), "'a--b'"),
        (wrong(slug=5), "the slug is '5'"),
        ([SMALL, SMALL], "the slug 'small' twice"),
        ([{**SMALL, "slug": s, "default": True} for s in "ab"], "the default twice"),
        (wrong(default="yes"), "default must be True or False"),
        (wrong(description=1), "description must be a text"),
        (wrong(overides={}), "'overides' is not known; write 'overrides'"),
        (wrong(kubespawner_override={}), "'kubespawner_override'.*write 'overrides'"),
        (wrong(colour="red"), "'colour' is not known; known: display_name"),
        (wrong(overrides=[]), "overrides must be a dictionary"),
        (wrong(overrides={"privileged": True}), "'privileged' is no option"),
        (wrong(profile_options=[]), "profile_options must be a dictionary"),
        (wrong(profile_options={"a--b": {}}), "the option is 'a--b'"),
        (wrong(profile_options={"profile": {}}), "cannot be called so"),
        (wrong(profile_options={"size": {"display_name": "Size"}}), "neither choices nor"),
        (wrong(profile_options={"size": "big"}), "'big' must be a dictionary"),
        (wrong_option(display_name=1), "no display_name"),
        (wrong_option(choices=["a"]), "choices must be a dictionary"),
        (wrong_option(choices={"": {}}), "the choice is ''"),
        (wrong_option(choices={UNLISTED: {}}), "cannot be called 'unlisted-choice'"),
        (wrong_choice(display_name=""), "no display_name"),
        (wrong_choice(default=1), "size 'a': default must be True or False"),
        (wrong_choice(overrides={"mem_limti": 1}), "size 'a': 'mem_limti' is no option"),
        (
            wrong_option(choices={c: {"display_name": c, "default": True} for c in "ab"}),
            "size: there is the default twice",
        ),
        (wrong_option(unlisted_choice=True), "unlisted_choice: 'True' must be a dictionary"),
        (wrong_unlisted(enabled="yes"), "enabled must be True or False"),
        (wrong_unlisted(regex=".*"), "'regex' is not known"),
        (wrong_unlisted(validation_regex="("), r"validation_regex: '\(' is none"),
        (wrong_unlisted(overrides={"image": "x/{value}"}), "a whole value only"),
        (wrong_unlisted(overrides={"cmd": ["a", "--b={value}"]}), "a whole value only"),
        (wrong_unlisted(overrides={"volumes": {"/d/{value}": "/d"}}), "a whole value only"),
    ],
)
def test_what_is_no_list_of_profiles(value, said):
    with pytest.raises(SpecError, match=f"^profile_list: .*{said}"):
        offer(profile_list=value)


def test_images_and_profiles_at_once():
    with pytest.raises(SpecError, match="allowed_images is set too"):
        offer(["a"], [SMALL])


def test_an_unlisted_choice_that_is_not_enabled_is_none():
    (parsed,) = profiles(wrong_option(unlisted_choice={"display_name": "Other"}), changeable)
    assert parsed.options[0].unlisted is None


@pytest.mark.parametrize(
    ("offered", "empty"),
    [
        (NOTHING, True),
        (offer(["a:1"]), True),
        (LISTED, False),
        (ANY, False),
        (offer(profile_list=[SMALL]), True),
        (offer(profile_list=[LARGE]), False),
        (PROFILES, False),
    ],
)
def test_when_there_is_a_form(offered, empty):
    assert offered.is_empty is empty


# what users may choose


def result(offered, given, **keywords):
    """Return all that is set, one after the other."""
    values = {}
    for step in options.choose(offered, given, **keywords):
        values = options.merged(values, step.overrides)
    return values


LARGE_VALUES = {"mem_limit": "8G", "environment": {"SIZE": "large"}}


@pytest.mark.parametrize(
    ("offered", "given", "expected"),
    [
        (NOTHING, {}, {}),
        (LISTED, {}, {"image": "a:1"}),
        (LISTED, {"image": "b:1"}, {"image": "b:1"}),
        (offer(["a:1", "b:1"], image="b:1"), {}, {"image": "b:1"}),
        (offer(["a:1"]), {}, {"image": "a:1"}),
        (NAMED, {}, {"image": "{username}/b:1"}),
        (NAMED, {"image": "One"}, {"image": "a:1"}),
        (ANY, {}, {}),
        (ANY, {"image": "host:5000/a/b-c:1.0"}, {"image": "host:5000/a/b-c:1.0"}),
        (PROFILES, {"profile": "small"}, {"mem_limit": "1G"}),
        (PROFILES, {}, {**LARGE_VALUES, "image": "r:1"}),
        (PROFILES, {"image": "python"}, {**LARGE_VALUES, "image": "py:1"}),
        (
            PROFILES,
            {"profile": "large", "image": "python", "note--unlisted-choice": "hi"},
            {
                "mem_limit": "8G",
                "environment": {"SIZE": "large", "NOTE": "hi"},
                "image": "py:1",
            },
        ),
        *(
            (
                PROFILES,
                {**choice, "image--unlisted-choice": "own/image:2"},
                {
                    "mem_limit": "8G",
                    "image": "own/image:2",
                    "environment": {"SIZE": "large", "OWN": "own/image:2", "A": "b"},
                },
            )
            for choice in ({}, {"image": UNLISTED})
        ),
    ],
)
def test_choices(offered, given, expected):
    assert result(offered, given) == expected


@pytest.mark.parametrize(
    ("offered", "given", "said"),
    [
        (NOTHING, {"image": "a:1"}, "nothing to choose.*'image'"),
        (NOTHING, {"profile": "small"}, "nothing to choose.*'profile'"),
        (NOTHING, {"privileged": True}, "'privileged'"),
        (LISTED, {"image": "c:1"}, "'c:1' is not one of those for you: a:1, b:1"),
        (LISTED, {"image": ""}, "'' is not one"),
        (LISTED, {"image": None}, "'image' must be a text"),
        (LISTED, {"image": ["a:1"]}, "'image' must be a text"),
        (LISTED, {"image": {"a:1": 1}}, "'image' must be a text"),
        (LISTED, {"image": "a:1", "volumes": {"/": "/host"}}, "'volumes' cannot be chosen"),
        (LISTED, {"image": "{username.__class__}"}, "is not one"),
        (LISTED, {"image": "a" * 1_000_000}, "too long"),
        (LISTED, {"x" * 1_000_000: "a"}, "'xxx"),
        (LISTED, {"image": "a:1\n"}, "control characters"),
        (LISTED, {"profile": "small"}, "'profile' cannot"),
        (NAMED, {"image": "a:1"}, "not one of those for you: One, Two"),
        (PROFILES, {"profile": "huge"}, "no profile 'huge'.*: small, large"),
        (PROFILES, {"profile": True}, "'profile' must be a text"),
        (PROFILES, {"profile": "small", "image": "r"}, "'image' cannot be chosen"),
        (PROFILES, {"image": "julia"}, "image: 'julia' is no choice; there is: python, r"),
        (PROFILES, {"image": "r", "image--unlisted-choice": "a:1"}, "both a choice and a text"),
        (PROFILES, {"image--unlisted-choice": "latest"}, "image: Give a tag"),
        (PROFILES, {"image--unlisted-choice": "x:1\n"}, "control characters"),
        (PROFILES, {"image": UNLISTED}, "image: Give a tag"),
        (PROFILES, {"note--unlisted-choice": "{value}"}, "note: '{value}' cannot be used"),
        (PROFILES, {"note": "x"}, "note: 'x' is no choice"),
        (PROFILES, {"mem_limit": "64G"}, "'mem_limit' cannot be chosen"),
    ],
)
def test_what_is_refused(offered, given, said):
    with pytest.raises(ChoiceError, match=said) as refused:
        options.choose(offered, given)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "text",
    [
        *("a", "a:1", "quay.io/a/b", "localhost/a", "localhost:5000/a:b", "a/b_c.d--e/f"),
        "registry.example.org/team/image:1.0-rc_2",
        "a@sha256:" + "0" * 64,
        "a:1@sha256:" + "f" * 64,
        "0" * 64,
    ],
)
def test_references(text):
    assert options.reference(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-a", "--privileged", "a b", "a\n", "a:", ":1", "/a", "a/", "a//b", "a/../b"),
        *("{username}", "a{0}", "{username.__class__}", "a:{tag}", "dir:/etc", "docker://a"),
        *("docker-archive:/a", "oci:/a", "/etc/passwd", "../a", "http://a/b", "a@b", "a@sha256:0"),
        *("A", "a/B", "a:" + "t" * 129, "a" * 401, "$(id)", "a;b", "a'b", "a\0b", "ä"),
    ],
)
def test_what_is_no_reference(text):
    with pytest.raises(ChoiceError):
        options.choose(ANY, {"image": text})


@pytest.mark.parametrize("text", ["a" * 400, "a-" * 200, "." * 400, "-" * 400, "a." * 200 + "!"])
def test_a_reference_is_looked_at_quickly(text):
    with pytest.raises(ChoiceError):
        options.reference(text + "!")


def test_keys_of_somebody_else():
    assert result(LISTED, {"image": "b:1", "own": {"any": 1}}, left_out="own".__eq__) == {
        "image": "b:1"
    }
    with pytest.raises(ChoiceError, match="'other'"):
        options.choose(LISTED, {"own": 1, "other": 2}, left_out="own".__eq__)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": 1}, {"a": {"b": None, "c": 1}}, {"a": {"b": None, "c": 1}}),
        ([1], [2], [2]),
        ({"a": 1}, None, None),
        (None, {"a": 1}, {"a": 1}),
    ],
)
def test_merging(old, new, expected):
    assert options.merged(old, new) == expected


def test_merging_changes_neither():
    old, new = {"a": {"b": 1}}, {"a": {"c": 2}, "d": {}}
    options.merged(old, new)["a"]["x"] = 1
    assert (old, new) == ({"a": {"b": 1}}, {"a": {"c": 2}, "d": {}})


# forms


@pytest.mark.parametrize(
    ("offered", "posted", "expected"),
    [
        (NOTHING, {}, {}),
        (NOTHING, {"_xsrf": ["x"]}, {}),
        (LISTED, {"image": ["b:1"], "_xsrf": ["x"]}, {"image": "b:1"}),
        (ANY, {"image": [""]}, {}),
        (ANY, {"image": ["a:1"]}, {"image": "a:1"}),
        (PROFILES, {"profile": ["small"]}, {"profile": "small"}),
        (
            PROFILES,  # what a browser sends: the fields that do not show, too
            {
                "profile": ["small"],
                "profile-option-large--image": ["r"],
                "profile-option-large--image--unlisted-choice": [""],
                "profile-option-large--note--unlisted-choice": [""],
            },
            {"profile": "small"},
        ),
        (
            PROFILES,
            {
                "profile": ["large"],
                "profile-option-large--image": ["python"],
                "profile-option-large--image--unlisted-choice": ["left over"],
                "profile-option-large--note--unlisted-choice": [""],
            },
            {"profile": "large", "image": "python"},
        ),
        (
            PROFILES,
            {
                "profile": ["large"],
                "profile-option-large--image": [UNLISTED],
                "profile-option-large--image--unlisted-choice": ["a:1"],
                "profile-option-large--note--unlisted-choice": ["hi"],
            },
            {
                "profile": "large",
                "image": UNLISTED,
                "image--unlisted-choice": "a:1",
                "note--unlisted-choice": "hi",
            },
        ),
        (PROFILES, {"profile": ["large"], "image": ["r"]}, {"profile": "large", "image": "r"}),
    ],
)
def test_forms(offered, posted, expected):
    assert options.from_form(offered, posted) == expected


@pytest.mark.parametrize(
    ("offered", "posted", "said"),
    [
        (NOTHING, {"image": ["a:1"]}, "nothing to choose"),
        (LISTED, {"privileged": ["on"]}, "'privileged' cannot be chosen here"),
        (LISTED, {"volumes": ["/:/host"]}, "'volumes'"),
        (LISTED, {"image_file": [{"body": b"", "filename": "a"}]}, "'image_file'"),
        (LISTED, {"image": ["a:1", "b:1"]}, "'image' must be given once"),
        (LISTED, {"image": []}, "'image' must be given once"),
        (LISTED, {"image": ["x" * 1_000_000]}, f"too long: at most {MAX_LENGTH}"),
        (PROFILES, {"profile": ["huge"]}, "no profile 'huge'"),
        (PROFILES, {"profile": [""]}, "no profile ''"),
        (PROFILES, {"profile-option-huge--image": ["r"]}, "'profile-option-huge--image'"),
        (PROFILES, {"profile": ["small"], "image": ["r"]}, "'image'"),
    ],
)
def test_forms_that_are_refused(offered, posted, said):
    with pytest.raises(ChoiceError, match=said):
        options.from_form(offered, posted)


def test_fields_of_somebody_else_stay_as_they_came():
    posted = {"image": ["b:1"], "own": ["1", "2"]}
    assert options.from_form(LISTED, posted, left_out="own".__eq__) == {
        "image": "b:1",
        "own": ["1", "2"],
    }


NAMES = st.sampled_from(
    ["image", "profile", "note", "image--unlisted-choice", "profile-option-large--image"]
) | st.text(max_size=20)
TEXTS = st.sampled_from(["large", "small", "r", UNLISTED, "{username}", "a:1"]) | st.text(
    max_size=40
)
MENUS = st.sampled_from([NOTHING, LISTED, NAMED, ANY, PROFILES])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(offered=MENUS, posted=st.dictionaries(NAMES, st.lists(TEXTS, max_size=2), max_size=4))
def test_any_form_is_taken_or_refused(offered, posted):
    def read():
        return options.choose(offered, options.from_form(offered, posted))

    assert is_listed_or_refused(offered, read)


@settings(max_examples=300, deadline=None)
@given(offered=MENUS, sent=st.dictionaries(NAMES, JSON, max_size=4))
def test_any_json_is_taken_or_refused(offered: Menu, sent):
    assert is_listed_or_refused(offered, lambda: options.choose(offered, sent))


def is_listed_or_refused(offered, choose):
    """Whether only what the administrator named is set, or the refusal is one line of text."""
    try:
        steps = choose()
    except ChoiceError as error:
        return str(error).isprintable()
    listed = {*offered.images.values(), "py:1", "r:1"}
    images = [step.overrides.get("image", "") for step in steps]
    known = all(set(step.overrides) <= CHANGEABLE for step in steps)
    return known and all(image in listed or not re.search("[{}]", image) for image in images)
