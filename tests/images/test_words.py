"""Names of classes that a reader would take for the same."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarlab.images.words import look_alikes


@pytest.mark.parametrize(
    "pair",
    [
        ("Cat", "cat"),
        ("cat", "cat "),
        ("hot dog", "hot  dog"),
        ("caf\u00e9", "cafe\u0301"),
        ("cat", "cat\u200b"),
        ("\uff21", "a"),
        ("STRASSE", "stra\u00dfe"),
        ("1", "1.0"),
        ("1", "01"),
        ("-2.5", "-2.50"),
    ],
)
def test_n08_names_that_look_alike(pair):
    assert look_alikes(["dog", *pair, *pair]) == [tuple(sorted(pair))]


@pytest.mark.parametrize(
    "pair", [("cat", "cot"), ("1", "10"), ("1", "-1"), ("1.5", "15"), ("hot_dog", "hotdog"), ("c", "c++")]
)
def test_n08_names_that_differ(pair):
    assert look_alikes(pair) == []


@given(st.text())
def test_n08_every_form_of_a_name_looks_like_it(name):
    forms = {name, f" {name}", *(unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC", "NFKD"))}
    assert look_alikes(forms) == [tuple(sorted(forms))]
