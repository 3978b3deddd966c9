"""Where lines may end in Chinese, which has no spaces: rich breaks lines between words only, and cuts off the rest."""

from __future__ import annotations

import re

from rich import _wrap
from rich.cells import cell_len
from rich.text import Text

IDEOGRAPH, OPENING, CLOSING = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff", "（《「", "，。、：；！？）》」"
WORD = re.compile(
    rf"\s*(?:[{OPENING}“‘]*[{IDEOGRAPH}][{CLOSING}”’…]*|[{OPENING}]*[^\s{IDEOGRAPH}{OPENING}{CLOSING}]+[{CLOSING}]*|\S)\s*"
)
"""What stays together in a line: a word, or a single ideograph, with what opens before it and closes behind it."""


def teach_rich() -> None:
    """Let rich break lines between ideographs; nothing changes in a text that has none."""
    _wrap.re_word = WORD
    Text.rstrip_end = _rstrip_end  # type: ignore[method-assign]


def _rstrip_end(self: Text, size: int) -> None:
    """Remove spaces at the end that lie beyond so many columns; rich's own counts characters, not columns."""
    spaces = len(self.plain) - len(self.plain.rstrip())
    if (excess := min(spaces, cell_len(self.plain) - size)) > 0:
        self.right_crop(excess)
