"""Bring the catalogues of messages up to date with the code: `make messages`, after a message has changed.

Every message that the code marks with `tr` or `ntr` is added to each locale/<language>/LC_MESSAGES/cifarlab.po, those
that are gone are removed, and the .mo files are written. What has no translation yet is counted; a test refuses it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1] / "src" / "cifarlab"
KEYWORDS = {"tr": None, "ntr": (1, 2)}


def main() -> None:
    """Update every catalogue."""
    for path in sorted((ROOT / "locale").glob("*/LC_MESSAGES/cifarlab.po")):
        catalogue = updated(path)
        path.write_bytes(as_po(catalogue))
        with path.with_suffix(".mo").open("wb") as file:
            write_mo(file, catalogue)
        missing = [message.id for message in catalogue if message.id and not is_translated(message.string)]
        print(f"{path.parts[-3]}: {len(catalogue)} messages, {len(missing)} without a translation")


def updated(path: Path) -> Catalog:
    """A catalogue with exactly the messages of the code."""
    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.parts[-3], domain="cifarlab")
    catalogue.update(messages(), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    return catalogue


def messages() -> Catalog:
    """Every message of the code, without places, which would change with every line."""
    found = Catalog(domain="cifarlab")
    for _, _, message, _, _ in extract_from_dir(ROOT, [("**.py", "python")], keywords=KEYWORDS):
        found.add(message)
    return found


def as_po(catalogue: Catalog) -> bytes:
    """The text of a .po file, without dates, so that nothing changes when nothing has changed."""
    file = io.BytesIO()
    write_po(file, catalogue, width=118, sort_output=True, omit_header=False)
    lines = file.getvalue().splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith((b'"POT-Creation', b'"PO-Revision', b'"Generated')))


def is_translated(string: Any) -> bool:
    """Whether a message has all its translations."""
    return bool(string) and all(string if isinstance(string, tuple) else (string,))


if __name__ == "__main__":
    main()
