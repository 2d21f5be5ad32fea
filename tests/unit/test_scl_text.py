"""Text from births: whatever comes, what leaves is fit for XML and for its IEC 61850 type."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from scl_builder.build.text import escape, unicode, visible

ANYTHING = st.text(st.characters(codec=None, categories=None), max_size=400)
"""All code points, lone surrogates and controls included."""


@given(ANYTHING, st.sampled_from([64, 255]))
@example("\ud800\x00\ufffe\uffff\u202e", 255)
@example("\ufdfa" * 100, 255)
@example("0\r\u00b40", 64)
@example("a \x00 b", 64)
def test_visible_is_a_visible_string(text: str, limit: int) -> None:
    plain = visible(text, limit)
    assert len(plain) <= limit
    assert all(" " <= char <= "~" for char in plain)
    assert visible(plain, limit) == plain


@given(ANYTHING)
@example("\ud800\x00\ufffe\uffff\u202e")
@example("ü" * 200)
def test_unicode_is_xml_and_short(text: str) -> None:
    exact = unicode(text, 255)
    assert len(exact.encode()) <= 255
    element = etree.fromstring(f'<a b="{escape(exact)}">{escape(exact)}</a>')
    assert (element.text or "") == element.get("b") == exact


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("House 7", "House 7"),
        ("  two\n\tlines ", "two lines"),
        ("Çiğdem Öztürk", "Cigdem Ozturk"),
        ("Straße", "Stra?e"),
        ("Дом 7", "??? 7"),
        ("a\x00b\x1bc\x7f", "abc"),
        ("ﬁ½²", "fi1?22"),
        ("", ""),
    ],
)
def test_visible_keeps_what_it_can(text: str, plain: str) -> None:
    assert visible(text, 255) == plain


def test_unicode_is_not_cut_inside_a_character() -> None:
    assert unicode("a" + "ü" * 200, 255) == "a" + "ü" * 127


def test_escape() -> None:
    assert escape("""<&>"'""") == "&lt;&amp;&gt;&quot;&#x27;"
