"""Tables in text files: separated values in the usual dialects, and JSON lines; every row keeps its line number.

Nothing is guessed: text that is not Unicode, rows of another length than the head and quotes that do not close are
refused with the line where they stand.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cifarlab.console import count, printable, some
from cifarlab.errors import DataError, cause
from cifarlab.language import tr, translatable

SEPARATORS = {
    ",": translatable("comma"),
    ";": translatable("semicolon"),
    "\t": translatable("tab"),
    "|": translatable("vertical bar"),
}
"""What may separate the cells of a row. Excel writes semicolons where the decimal point is a comma."""

JSON_LINES = (".jsonl", ".ndjson")
"""Suffixes of files that hold an object per line."""

MAX_BYTES = 256 * 2**20
"""A larger file is not a list of pictures: ImageNet's has 60 MB."""

# Excel's "Unicode text" is UTF-16 with its mark, and its "CSV UTF-8" begins with one, which would become a part of the
# first column's name. UTF-16 without a mark is not guessed: its bytes are valid UTF-8 with NULs, or mean other letters.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "UTF-32-LE"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "UTF-32-BE"),
    (codecs.BOM_UTF16_LE, "UTF-16-LE"),
    (codecs.BOM_UTF16_BE, "UTF-16-BE"),
)
_SEPARATOR_LINE = re.compile(r"sep=([,;\t|])\r?\n", re.IGNORECASE)
"""The line before the head that tells Excel the separator."""


@dataclass(frozen=True)
class TextTable:
    """The rows of a file below its head, all as long as the head, and the line in which each begins, from 1.

    Blanks around cells are stripped; rows in which every cell is empty are left out.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]

    @property
    def where(self) -> str:
        """The file, for messages."""
        return printable(str(self.path))

    def column(self, index: int) -> list[str]:
        """The cells of one column, from top to bottom."""
        return [row[index] for row in self.rows]


def read_table(path: Path, fits: Callable[[Sequence[str]], bool]) -> TextTable:
    """Read separated values, or JSON lines where the file's suffix says so.

    fits: whether the names of columns are those of the table; it decides which separator is meant. Where none gives
    such a head, the one that gives the most columns is taken. Raises DataError for a file that cannot be read as such.
    """
    text = read_text(path)
    if path.suffix.lower() in JSON_LINES:
        return _from_json_lines(path, text)
    separator, skipped = _separator(text, fits)
    rows = _parse(path, text, separator, skipped)
    _, head = next(rows, (0, []))
    table = TextTable(path, tuple(head), [], [])
    problems = []
    for line, row in rows:
        # an unquoted comma in a label ("cup, blue") makes a row too long; cut to size, it would merge classes
        if len(row) == len(head):
            table.rows.append(row)
            table.lines.append(line)
        else:
            cells = shown(", ".join(row))
            problems.append(tr("line {line} ({cells}) has {n} cells", line=line, cells=cells, n=len(row)))
    if problems:
        raise DataError(
            tr(
                "{file} has rows that do not fit its head of {columns}: {problem}.\n"
                "The separator is a {separator}; a cell that contains one has to stand in double quotes.",
                file=table.where,
                columns=count(len(head), "column"),
                problem=some(problems),
                separator=tr(SEPARATORS[separator]),
            )
        )
    return table


def read_head(path: Path, fits: Callable[[Sequence[str]], bool], num_bytes: int = 2**16) -> tuple[str, ...]:
    """The names of the columns, from the beginning of a file; () if that is not a head that fits.

    For a first look at a file that may be anything; its errors are left to `read_table`.
    """
    try:
        if not path.is_file():
            return ()
        with path.open("rb") as file:
            # replace: the block may end within a character, and a label in Latin-1 further down is not the head's fault
            text = _decode(path, file.read(num_bytes), errors="replace")
        if path.suffix.lower() in JSON_LINES:
            head = _from_json_lines(path, text.lstrip().split("\n")[0]).columns
        else:
            separator, skipped = _separator(text, fits)
            head = tuple(next(_parse(path, text, separator, skipped), (0, []))[1])
    except (OSError, DataError):
        return ()
    return head if fits(head) else ()


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 or UTF-32 that begins with a byte order mark.

    Raises DataError for what is not a regular file, larger than MAX_BYTES, in another encoding, or not text.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait forever for somebody to write
            raise DataError(tr("{file} is not a regular file, so it is not read.", file=printable(str(path))))
        if status.st_size > MAX_BYTES:
            raise DataError(
                tr(
                    "{file} has {size:,.0f} MiB; lists of pictures have at most {most:,.0f} MiB.\n"
                    "Divide it, or give the folder of its pictures instead.",
                    file=printable(str(path)),
                    size=status.st_size / 2**20,
                    most=MAX_BYTES / 2**20,
                )
            )
        content = path.read_bytes()
    except OSError as error:
        text = tr("Cannot read {file}: {cause}.", file=printable(str(path)), cause=cause(error))
        raise DataError(text) from error
    text = _decode(path, content)
    # Latin letters of UTF-16 decode as UTF-8 without an error, each with a NUL beside it
    if (place := text.find("\0")) >= 0:
        raise DataError(
            tr(
                "{file} is not text: line {line} has a NUL character.\n"
                "If it is UTF-16 without a byte order mark: {command}",
                file=printable(str(path)),
                line=_line(text[:place]),
                command=_iconv(path, "UTF-16LE"),
            )
        )
    return text


def shown(text: str, limit: int = 60) -> str:
    """Text from a list in a message: printable, its middle left out where it is long."""
    text = printable(text)
    return text if len(text) <= limit else f"{text[: limit // 2]}…{text[-limit // 2 :]}"


def _decode(path: Path, content: bytes, errors: str = "strict") -> str:
    mark, encoding = next(
        ((mark, encoding) for mark, encoding in _BYTE_ORDER_MARKS if content.startswith(mark)), (b"", "UTF-8")
    )
    content = content[len(mark) :]
    try:
        return content.decode(encoding, errors)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding)
        last_line = re.split(r"[\r\n]", before)[-1]
        raise DataError(
            tr(
                "{file} is not {encoding}: line {line} has the byte 0x{byte:02x} after '{text}'.\n"
                "Save it as UTF-8; if it comes from Windows or Excel: {command}",
                file=printable(str(path)),
                encoding=encoding,
                line=_line(before),
                byte=content[error.start],
                text=printable(last_line[-40:]),
                command=_iconv(path, "CP1252"),
            )
        ) from error


def _iconv(path: Path, encoding: str) -> str:
    return f"iconv -f {encoding} -t UTF-8 '{printable(path.name)}' > 'utf8-{printable(path.name)}'"


def _line(before: str) -> int:
    """The number of the line that text ends in."""
    return len(re.findall(r"\r\n|\r|\n", before)) + 1


def _separator(text: str, fits: Callable[[Sequence[str]], bool]) -> tuple[str, int]:
    """The separator of the cells, and the length of the line before the head that declares it (0: none does)."""
    if declared := _SEPARATOR_LINE.match(text):
        return declared[1], declared.end()
    beginning, heads = text[: 2**20], dict[str, list[str]]()
    for separator in SEPARATORS:
        try:
            heads[separator] = next((row for _, row in _parse(Path(), beginning, separator)), [])
        except DataError:
            # another separator may do; if none does, the file is parsed again and the error shown
            heads[separator] = []
    # not csv.Sniffer, which counts characters: a head has known names, so it shows which separator yields them
    return max(heads, key=lambda separator: (fits(heads[separator]), len(heads[separator]))), 0


def _parse(path: Path, text: str, separator: str, skipped: int = 0) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the line that it begins in."""
    file = io.StringIO(text, newline="")  # a quoted cell may hold line breaks, which have to stay as they are
    file.seek(skipped)
    first = 2 if skipped else 1
    # skipinitialspace: 'a, "b, c"' is two cells; strict: else a quote that never closes takes the rest of the file
    reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
    line = first
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield line, cells
            line = first + reader.line_num  # rows and lines differ: a row may have line breaks in quotes
    except csv.Error as error:
        problem = tr("a quote is not closed") if "end of data" in str(error) else str(error)
        text = tr("{file} cannot be read: the row in line {line}: {problem}.")
        raise DataError(text.format(file=printable(str(path)), line=line, problem=problem)) from error


def _from_json_lines(path: Path, text: str) -> TextTable:
    """One object per line; its keys are the columns, those with lists or objects left out."""
    objects, lines, nested = list[dict[str, str]](), list[int](), set[str]()
    for line, row in enumerate(text.split("\n"), start=1):  # not splitlines: JSON may hold other line separators
        if not row.strip():
            continue
        try:
            values = json.loads(row, object_pairs_hook=_unique)
            if not isinstance(values, dict):
                raise ValueError(tr("it is not an object"))
        except (ValueError, RecursionError) as error:
            problem = tr("{file} cannot be read: line {line} ({text}): {problem}.")
            problem = problem.format(file=printable(str(path)), line=line, text=shown(row), problem=error)
            raise DataError(problem) from error
        # Hugging Face's metadata.jsonl has boxes and captions in such keys
        nested |= {key for key, value in values.items() if isinstance(value, list | dict)}
        objects.append({key: _cell(value) for key, value in values.items() if key not in nested})
        lines.append(line)
    columns = tuple(dict.fromkeys(key for values in objects for key in values if key not in nested))
    names = tuple(column.strip() for column in columns)
    return TextTable(path, names, [[values.get(key, "") for key in columns] for values in objects], lines)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):  # json.loads would keep the last of two labels
        raise ValueError(tr("a key stands in it twice"))
    return values


def _cell(value: object) -> str:
    """A value of JSON as the text that a CSV has for it."""
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value)
