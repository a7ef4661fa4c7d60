"""The form: what a browser makes of it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from podmanspawner.form import form
from test_options import ANY, LISTED, NAMED, NOTHING, PROFILES, offer

VOID = {"input", "br"}


class Page(HTMLParser):
    """The elements of a form; fails where one is not closed."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.texts = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style" and data.strip():
            self.texts.append(data.strip())

    def all(self, tag, **attributes):
        found = [given for name, given in self.elements if name == tag]
        return [given for given in found if attributes.items() <= given.items()]


@pytest.mark.parametrize("offered", [NOTHING, offer(["a:1"])])
def test_no_form_where_there_is_no_choice(offered):
    assert form(offered) == ""


def test_images_are_a_select():
    page = Page(form(LISTED))
    (select,) = page.all("select")
    assert (select["name"], select["class"]) == ("image", "form-select")
    assert [given["value"] for given in page.all("option")] == ["a:1", "b:1"]
    assert page.texts == ["Image", "a:1", "b:1"]


def test_the_default_is_selected():
    page = Page(form(NAMED))
    assert [given["value"] for given in page.all("option") if "selected" in given] == ["Two"]


def test_any_image_is_a_text():
    (field,) = Page(form(ANY)).all("input")
    assert (field["name"], field["type"], field["placeholder"]) == ("image", "text", "default:1")


def test_profiles_are_radio_buttons():
    page = Page(form(PROFILES))
    buttons = page.all("input", type="radio", name="profile")
    assert [given["value"] for given in buttons] == ["small", "large"]
    assert [given["value"] for given in buttons if "checked" in given] == ["large"]
    assert "Large & slow" in page.texts
    assert "for <big> data" in page.texts


def test_options_of_a_profile_have_its_name():
    page = Page(form(PROFILES))
    (select,) = page.all("select")
    assert select["name"] == "profile-option-large--image"
    lines = page.all("option")
    assert [given["value"] for given in lines] == ["python", "r", "unlisted-choice"]
    assert [given["value"] for given in lines if "selected" in given] == ["r"]
    assert [given["name"] for given in page.all("input", type="text")] == [
        "profile-option-large--image--unlisted-choice",
        "profile-option-large--note--unlisted-choice",
    ]


@pytest.mark.parametrize("offered", [LISTED, NAMED, ANY, PROFILES])
def test_everything_has_a_label(offered):
    page = Page(form(offered))
    labelled = {given["for"] for given in page.all("label")}
    fields = [given for tag, given in page.elements if tag in ("input", "select")]
    assert len({given["id"] for given in fields}) == len(fields)
    for given in fields:
        assert given["id"] in labelled or given["aria-label"]
    known = {given.get("id") for _, given in page.elements}
    assert {given.get("aria-describedby", given.get("id")) for given in fields} <= known


def test_what_an_administrator_writes_is_no_markup():
    bad = '"><script>alert(1)</script>'
    option = {
        "display_name": bad,
        "choices": {"a": {"display_name": bad}},
        "unlisted_choice": {
            "enabled": True,
            "display_name": bad,
            "display_name_in_choices": bad,
            "validation_message": bad,
        },
    }
    profile = {"display_name": bad, "slug": "a", "description": bad}
    menus = [
        offer([bad, "b"]),
        offer("*", image=bad),
        offer(profile_list=[{**profile, "profile_options": {"x": option}}]),
    ]
    for offered in menus:
        page = Page(form(offered))
        assert page.all("script") == []


def test_there_is_no_script():
    assert "<script" not in form(PROFILES)
    assert "javascript" not in form(PROFILES).lower()
