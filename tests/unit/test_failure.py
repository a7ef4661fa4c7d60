"""The page of a start that failed: what a browser makes of it."""

from __future__ import annotations

import pytest

from podmanspawner.answers import quoted
from podmanspawner.failure import failure_page
from test_form import Page

EVIL = "<script>alert(1)</script> & \"'</samp>"


def test_lines_of_the_server_are_set_apart():
    page = Page(failure_page("It ended. Its last lines:\n" + quoted("one\n  two\n\nthree")))
    assert [tag for tag, _ in page.elements] == ["span", "samp"]
    assert page.texts == ["It ended. Its last lines:", "one\n  two\n\nthree"]


def test_what_follows_the_lines_is_outside():
    page = Page(failure_page(f"Before:\n{quoted('one')}\nBetween:\n{quoted('two')}"))
    assert [tag for tag, _ in page.elements] == ["span", "samp", "span", "samp"]
    assert page.texts == ["Before:", "one", "Between:", "two"]


@pytest.mark.parametrize("text", [EVIL, quoted(EVIL), f"a\n{quoted(EVIL)}"])
def test_nothing_is_markup(text):
    page = Page(failure_page(text))
    assert {tag for tag, _ in page.elements} <= {"span", "samp"}
    assert page.texts[-1] == EVIL
    assert [set(given) for _, given in page.elements if "onerror" in given] == []


def test_it_stays_inside_a_paragraph():
    """A block such as <div> or <pre> would end the one that the Hub's page puts around it."""
    assert not {"div", "pre", "p"} & {tag for tag, _ in Page(failure_page("a\n    | b")).elements}
