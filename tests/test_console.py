"""What reaches a terminal."""

from __future__ import annotations

import sys

import pytest

from cifarlab import console
from cifarlab.console import fitting, labelled, printable, quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("café 猫 [wild]", "café 猫 [wild]"),
        ("a\x1b[31mb\x07\r", r"a\x1b[31mb\x07\r"),
        ("two\nlines\u2028three", r"two\nlines\u2028three"),
        ("gpj.\u202etac\u202c \u2066x\u2069 \u200fy", r"gpj.\u202etac\u202c \u2066x\u2069 \u200fy"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("\x9b", r"\x9b"),
        ("k\udcf6ter", r"k\udcf6ter"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_n56_text_from_files_shows_every_character(text: str, shown: str) -> None:
    assert printable(text) == shown


FACTS = [(0, "epoch 3/45"), (1, "loss 1.651"), (3, "train 56.5 %"), (2, "val 57.7 %")]


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (48, "epoch 3/45  loss 1.651  train 56.5 %  val 57.7 %"),
        (47, "epoch 3/45  loss 1.651  val 57.7 %"),
        (33, "epoch 3/45  loss 1.651"),
        (10, "epoch 3/45"),
        (3, "epoch 3/45"),
    ],
)
def test_facts_without_room_are_left_out_the_least_important_first(width: int, line: str) -> None:
    assert fitting(FACTS, width) == line


def test_a_fact_without_text_leaves_no_gap() -> None:
    assert fitting([(0, ""), (1, "a"), (2, ""), (3, "b")], 80) == "a  b"


def test_a_long_text_goes_on_below_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert labelled("data", "cifar10, 10 classes, /data/cifar-10") == "data     cifar10, 10 classes, /data/cifar-10"
    monkeypatch.setattr(console, "columns", lambda: 30)
    assert labelled("data", "cifar10, 10 classes, /data/cifar-10") == (
        "data     cifar10, 10 classes,\n         /data/cifar-10"
    )


def test_in_a_notebook_a_bar_stands_below_the_cell_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(console, "is_notebook", lambda: True)
    monkeypatch.setattr(console, "below_cell", lambda: shown.append)
    monkeypatch.setattr(console, "SECONDS_BETWEEN_BARS", -1.0)
    monkeypatch.setattr(console.log, "level", 20)
    with console.progress("<b>", 3, "images") as advance:
        advance(1, (1, "loss <2"))
        advance(1, what="two")
    assert shown == [
        '<progress value="1" max="3"></progress> &lt;b&gt;  1/3 images  loss &lt;2',
        '<progress value="2" max="3"></progress> two  2/3 images',
        "",
    ]


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        (r"C:\Users\me\runs\quick-2", r"C:\Users\me\runs\quick-2"),
        (r"my runs\quick", r'"my runs\quick"'),
        ("data.split_names=train=a,test=b", '"data.split_names=train=a,test=b"'),
        ("my runs\\", '"my runs\\\\"'),
        (r'a="\b"', r'"a=\"\b\""'),
        (r"a\" b", r'"a\\\" b"'),
        ("a&b", '"a&b"'),
        ("猫", "猫"),
        ("", '""'),
    ],
)
def test_words_of_commands_on_windows(word: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert quoted("my runs") == "'my runs'"
    monkeypatch.setattr(sys, "platform", "win32")
    assert quoted(word) == shown


def test_without_a_console_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with pythonw, which starts programs with windows of their own on Windows."""
    monkeypatch.setattr(sys, "stderr", None)
    assert not console.is_interactive()
