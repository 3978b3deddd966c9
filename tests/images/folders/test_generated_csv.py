"""Lists of pictures that are made up: clear ones are read as they were meant, broken ones refused, all the rest either.

What a list means is written down before it is written, so the reader has nothing to compare itself with.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.folders.csv import list_csv
from cifarlab.recipe.schema import DataSpec

EXAMPLES = max(200, settings.default.max_examples)

PICTURES = (
    "img/cat/1.png",
    "img/cat/2 (copy).jpg",
    "img/dog/10.png",
    "img/dog/a;b.png",
    "img/猫/köter.PNG",
    "img/x,y|z.png",
    'img/with "quotes".png',
    "v1.2.png",
    "img/train.png",
    "last.jpeg",
)
LABELS = ("cat", "dog", "big, old", 'a "b"', "köter", "猫", "x;y", "a|b", "two\nlines", "0", "10", "test")
"""Classes that do not look alike."""

HEADS = {
    "image": (
        "image",
        "Image",
        " FILE_NAME ",
        "filename",
        "File Name",
        "path",
        "filepath",
        "img",
        "image_path",
        "id",
        "image_id",
    ),
    "label": ("label", "LABEL", "class", "Category ", "class_name", "label-name", "ClassId", "species", "target"),
    "split": ("split", " Split", "SET", "subset", "partition"),
}
OTHERS = ("width", "note", "", "x", "Roi.X1", "größe")
UNUSED = st.text("ab ,;|\t\"'\n", max_size=5)
SPLIT_WORDS = {"train": ("train", "TRAIN", " Train "), "val": ("val", "valid", "Validation"), "test": ("test", "Test")}


@dataclass(frozen=True)
class Clear:
    """A list that can be understood in one way: its cells, how it is written, and what each picture is."""

    head: list[str]
    rows: list[list[str]]
    roles: dict[str, int]
    separator: str
    line_end: str
    encoding: str
    quote_all: bool
    meaning: dict[str, tuple[str, str]]

    def text(self) -> str:
        out = io.StringIO()
        quoting = csv.QUOTE_ALL if self.quote_all else csv.QUOTE_MINIMAL
        writer = csv.writer(out, delimiter=self.separator, lineterminator=self.line_end, quoting=quoting)
        writer.writerows([self.head, *self.rows])
        return out.getvalue()


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for number, name in enumerate((*PICTURES, "img/unlisted.png")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(root / name, "PNG")
    return root


def ways_to_write(name: str) -> list[str]:
    """Names of the same picture, as lists have them; ROOT stands for the folder of the list."""
    stem = name.rpartition(".")[0]
    ways = [name, f"./{name}", f"ROOT/{name}", name.replace("/", "//"), f"img/../{name}", f" {name} "]
    return [*ways, name.replace("/", "\\"), *([stem] if "." not in stem else [])]


@st.composite
def clear_lists(draw: st.DrawFn) -> Clear:
    names = draw(st.lists(st.sampled_from(PICTURES), min_size=1, unique=True))
    labels = {name: draw(st.sampled_from(LABELS)) for name in names}
    splits = {name: draw(st.sampled_from(tuple(SPLIT_WORDS))) for name in names}
    # train has every class, or the list is refused for that
    splits |= {names[place]: "train" for place in {list(labels.values()).index(label) for label in labels.values()}}
    columns = ["image", "label", *draw(st.sampled_from(([], ["split"], ["empty split"])))]
    others = draw(st.lists(st.sampled_from(OTHERS), max_size=3, unique=True))
    order = draw(st.permutations([*columns, *others]))
    head, rows = [], []
    for column in order:
        role = column.removeprefix("empty ")
        head.append(draw(st.sampled_from(HEADS[role])) if role in HEADS else column)
    for name in names:
        cells = {
            "image": draw(st.sampled_from(ways_to_write(name))),
            "label": draw(st.sampled_from(("{}", " {}", "{} "))).format(labels[name]),
            "split": draw(st.sampled_from(SPLIT_WORDS[splits[name]])),
            "empty split": draw(st.sampled_from(("", " "))),
        }
        rows.append([cells[column] if column in cells else draw(UNUSED) for column in order])
    meaning = {name: (labels[name], splits[name] if "split" in columns else "") for name in names}
    return Clear(
        head,
        rows,
        {column.removeprefix("empty "): place for place, column in enumerate(order)},
        draw(st.sampled_from(",;\t|")),
        draw(st.sampled_from(("\n", "\r\n"))),
        draw(st.sampled_from(("utf-8", "utf-8-sig", "utf-16"))),
        draw(st.booleans()),
        meaning,
    )


def understood(root: Path, content: bytes) -> dict[str, tuple[str, str]]:
    """Picture -> class and split, "" where it was drawn."""
    (root / "list.csv").write_bytes(content)
    listing, understanding = list_csv(root / "list.csv", DataSpec(), None)
    assert {split: sum(counts.values()) for split, counts in understanding.counts.items()} == {
        split: len(files) for split, files in listing.splits.items()
    }
    return {
        file.name: (file.class_name.replace("\\n", "\n"), "" if listing.own_split else split)
        for split, files in listing.splits.items()
        for file in files
    }


def content_of(clear: Clear, root: Path) -> bytes:
    return clear.text().replace("ROOT", str(root)).encode(clear.encoding)


@settings(max_examples=EXAMPLES)
@given(clear=clear_lists())
def test_c6_clear_lists_are_read_as_they_were_meant(root, clear):
    assert understood(root, content_of(clear, root)) == clear.meaning


def with_row(clear: Clear, change) -> Clear:
    """The list with its last row changed."""
    return dataclasses.replace(clear, rows=[*clear.rows[:-1], *change(clear.rows[-1])])


def with_cell(clear: Clear, role: str, value: str) -> Clear:
    place = clear.roles[role]
    return with_row(clear, lambda row: [[*row[:place], value, *row[place + 1 :]]])


def with_column(clear: Clear, name: str, cells: list[str]) -> Clear:
    rows = [[*row, cell] for row, cell in zip(clear.rows, cells, strict=True)]
    return dataclasses.replace(clear, head=[*clear.head, name], rows=rows)


def relabelled(clear: Clear) -> Clear:
    """The last picture a second time, as another class."""
    again = with_cell(clear, "label", "another class").rows[-1]
    return dataclasses.replace(clear, rows=[*clear.rows, again])


def without_label(clear: Clear) -> Clear:
    """A picture to learn from without a class; a whole test without them would be left out."""
    in_train = with_cell(clear, "split", "train") if "split" in clear.roles else clear
    return with_cell(in_train, "label", " ")


BROKEN = {
    "a cell too many": lambda clear: with_row(clear, lambda row: [[*row, "more"]]),
    "a cell too few": lambda clear: with_row(clear, lambda row: [row[:-1]]),
    "a picture twice": lambda clear: with_row(clear, lambda row: [row, row]),
    "a picture twice, as two classes": relabelled,
    "no label": without_label,
    "no name": lambda clear: with_cell(clear, "image", ""),
    "a picture elsewhere": lambda clear: with_cell(clear, "image", "../elsewhere.png"),
    "a picture elsewhere, absolute": lambda clear: with_cell(clear, "image", "/elsewhere/1.png"),
    "a NUL character": lambda clear: with_cell(clear, "label", "a\0b"),
    "no head": lambda clear: dataclasses.replace(clear, head=["1.png", *clear.rows[0][1:]]),
    "nothing below the head": lambda clear: dataclasses.replace(clear, rows=[]),
    "the column of labels twice": lambda clear: with_column(
        clear, clear.head[clear.roles["label"]], [row[clear.roles["label"]] for row in clear.rows]
    ),
    "no column of pictures": lambda clear: dataclasses.replace(
        clear, head=["x" if place == clear.roles["image"] else name for place, name in enumerate(clear.head)]
    ),
}


@settings(max_examples=EXAMPLES)
@given(clear=clear_lists(), fault=st.sampled_from(sorted(BROKEN)))
def test_c6_broken_lists_are_refused(root, clear, fault):
    with pytest.raises(DataError):
        understood(root, content_of(BROKEN[fault](clear), root))


def two_labels(clear: Clear) -> Clear:
    """A second column of classes that go across the first ones."""
    labels = [row[clear.roles["label"]].strip() for row in clear.rows]
    all_differ = len(set(labels)) == len(labels)
    other = "type, same for all" if all_differ else "{}"
    name = "target" if "target" not in clear.head else "species"
    return with_column(clear, name, [other.format(number) for number in range(len(labels))])


def look_alikes(clear: Clear) -> Clear:
    last = with_cell(clear, "label", "LOOK  Alike")
    first = with_cell(dataclasses.replace(clear, rows=clear.rows[:1]), "label", "look alike")
    return dataclasses.replace(clear, rows=[*first.rows, *last.rows[1:]])


def two_splits(clear: Clear) -> Clear:
    once = clear if "split" in clear.roles else with_column(clear, "subset", ["train"] * len(clear.rows))
    return with_column(once, "data split", ["train"] * len(clear.rows))


AMBIGUOUS = {
    "two columns of classes": two_labels,
    "two columns of splits": two_splits,
    "classes that look alike": look_alikes,
    "two columns of pictures": lambda clear: with_column(
        with_column(clear, "photo", [f"a{number}.png" for number, _ in enumerate(clear.rows)]),
        "pic",
        [f"b{number}.png" for number, _ in enumerate(clear.rows)],
    ),
    "folds": lambda clear: with_column(clear, "fold", ["0" for _ in clear.rows]),
}


@settings(max_examples=EXAMPLES)
@given(clear=clear_lists(), doubt=st.sampled_from(sorted(AMBIGUOUS)))
def test_c6_ambiguous_lists_are_refused(root, clear, doubt):
    assume(len(clear.rows) > 1 and not (doubt == "folds" and "split" in clear.roles))
    with pytest.raises(AmbiguousDataError):
        understood(root, content_of(AMBIGUOUS[doubt](clear), root))


@given(clear=clear_lists(), encoding=st.sampled_from(["latin-1", "cp1252", "utf-16-le", "utf-32-be"]))
def test_c6_other_encodings_are_refused(root, clear, encoding):
    text = with_cell(clear, "label", "köter").text()
    content = text.replace("ROOT", str(root)).encode(encoding, "replace")
    with pytest.raises(DataError):
        understood(root, content)


@given(
    content=st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "replace"))),
    head=st.sampled_from(["", "image,label\n", "id;class;split\n"]),
)
def test_c6_any_bytes_are_read_or_refused(root, content, head):
    try:
        understood(root, head.encode() + content)
    except DataError as error:
        assert 1 <= len(str(error).split("\n")) <= 3


@given(clear=clear_lists(), data=st.data())
def test_c6_damaged_lists_are_read_or_refused(root, clear, data):
    """Bytes are taken out, put in and replaced; what is read then names pictures that are in the folder."""
    content = bytearray(content_of(clear, root))
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 3))
        content[place : place + length] = data.draw(st.binary(max_size=3))
    try:
        found = understood(root, bytes(content))
    except DataError:
        return
    assert all(os.path.normpath(name) == name and not name.startswith(("/", "..")) for name in found)
