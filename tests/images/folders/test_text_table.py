"""Text files as tables: encodings, rows of the wrong length, quotes, sizes, JSON lines."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest

from cifarlab.errors import DataError
from cifarlab.images.folders.text_table import MAX_BYTES, TextTable, read_head, read_table, shown


def fits(columns) -> bool:
    return {"a", "b"} <= set(columns)


def read(path: Path, content: bytes | str) -> TextTable:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, fits)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "list.csv"


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_n09_unicode_that_says_its_form(path, mark, encoding):
    table = read(path, mark + "a,b\nköter,猫\n".encode(encoding))
    assert table == TextTable(path, ("a", "b"), [["köter", "猫"]], [2])


@pytest.mark.parametrize(("encoding", "byte"), [("latin-1", "0xf6"), ("cp1252", "0xf6"), ("cp437", "0x94")])
def test_n09_other_encodings_are_not_guessed(path, encoding, byte):
    with pytest.raises(DataError) as caught:
        read(path, "a,b\r\n1,cat\r\n2,köter\r\n".encode(encoding))
    first, second = str(caught.value).split("\n")
    assert first == f"{path} is not UTF-8: line 3 has the byte {byte} after '2,k'."
    assert "iconv -f CP1252 -t UTF-8 'list.csv' > 'utf8-list.csv'" in second


def test_n09_half_of_a_character(path):
    for content in (b"a,b\n1,\xed\xa0\x80\n", b"a,b\n1,\xc3"):
        with pytest.raises(DataError, match="is not UTF-8: line 2 has the byte"):
            read(path, content)
    with pytest.raises(DataError, match="is not UTF-16-LE: line 2 has the byte 0x00 after '1,'"):
        read(path, codecs.BOM_UTF16_LE + "a,b\n1,".encode("utf-16-le") + b"\x00\xd8")


def test_n67_nul_characters(path):
    for content in (b"a,b\n1,\x00\n", "a,b\n1,2\n".encode("utf-16-le")):
        with pytest.raises(DataError, match=r"is not text: line [12] has a NUL character.\n.*iconv -f UTF-16LE"):
            read(path, content)


def test_n67_a_file_too_large_for_a_list_is_not_read(path):
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(DataError, match="has 256 MiB; lists of pictures have at most 256 MiB"):
        read_table(path, fits)


@pytest.mark.parametrize("row", ["1,2,3", "1", '1;"2"', "1,2,"])
def test_n09_rows_that_do_not_fit_the_head(path, row):
    with pytest.raises(DataError) as caught:
        read(path, f"a,b\n1,2\n\n{row}\n3,4\n")
    cells = ", ".join(row.split(","))
    assert "does not fit" not in str(caught.value)
    assert f"line 4 ({cells}) has {len(row.split(','))} cells." in str(caught.value)
    assert "The separator is a comma; a cell that contains one has to stand in double quotes." in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('a,b\n1,2\n3,"4\n5,6\n', 3, "a quote is not closed"),
        ('a,b\n1,"2"3\n', 2, "',' expected after '\"'"),
        ('a,b\n"1\n2",x\n3,"4"5\n', 4, "',' expected after '\"'"),
        (f"a,b\n1,{'x' * 200_000}\n", 2, "field larger than field limit (131072)"),
        ('"a,b\n1,2\n', 1, "a quote is not closed"),
    ],
)
def test_n09_cells_that_cannot_be_read(path, text, line, problem):
    with pytest.raises(DataError) as caught:
        read(path, text)
    assert str(caught.value) == f"{path} cannot be read: the row in line {line}: {problem}."


def test_n10_rows_know_their_lines(path):
    table = read(path, '\n\na,b\n1,"two\nlines"\n\n , \n2,x\r\n3," y "\r4, z')
    assert table.rows == [["1", "two\nlines"], ["2", "x"], ["3", "y"], ["4", "z"]]
    assert table.lines == [4, 8, 9, 10]
    assert read(path, "sep=|\na|b\n1|2\n").lines == [3]


def test_n10_the_separator_is_that_of_the_head(path):
    assert read(path, "a;b;c,d\n1;2;3,4\n").columns == ("a", "b", "c,d")
    assert read(path, '"a"\t"b"\t"c;d,e|f"\n').columns == ("a", "b", "c;d,e|f")
    assert read(path, "x;y;z,w\n").columns == ("x", "y", "z,w")  # none fits: the most columns


def test_n10_json_lines(path):
    path = path.with_suffix(".jsonl")
    rows = [{"a": 1, " b ": None, "n": [1]}, {}, {"a": 1.0, "c": True, "n": "text"}, {"a": " x\u2028y ", " b ": "2"}]
    table = read(path, "\ufeff" + "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    assert table.columns == ("a", "b", "c")
    assert table.rows == [["1", "", ""], ["", "", ""], ["1.0", "", "true"], ["x\u2028y", "2", ""]]
    assert table.lines == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('{"a": 1', "Expecting ',' delimiter"),
        ("[1]", "it is not an object"),
        ('{"a": 1, "a": 2}', "a key stands in it twice"),
        ("[" * 100_000, "recursion"),
        ('{"a": ' + "9" * 5000 + "}", "limit"),
        ("{'a': 1}", "property name"),
    ],
)
def test_n67_lines_that_are_no_objects(path, row, problem):
    path = path.with_suffix(".jsonl")
    with pytest.raises(DataError, match=f"(?s)cannot be read: line 2 .*{problem}"):
        read(path, '{"a": 1}\n' + row)


def test_the_head_alone(path, tmp_path):
    assert read_head(tmp_path / "nothing.csv", fits) == ()
    assert read_head(tmp_path, fits) == ()
    for content in ("a;b\n1;2;3;köter\n".encode("latin-1"), b'a;b\n"' + b"x" * 200_000):
        path.write_bytes(content)
        assert read_head(path, fits) == ("a", "b")
    path.write_bytes(b"c,d\n")
    assert read_head(path, fits) == ()
    lines = path.with_suffix(".jsonl")
    lines.write_text('{"a": 1, "b": 2}\nbroken')
    assert read_head(lines, fits) == ("a", "b")


def test_long_text_is_cut_in_the_middle():
    assert shown("x" * 50 + "y" * 50, 10) == "xxxxx…yyyyy"
    assert shown("two\nlines") == "two\\nlines"
