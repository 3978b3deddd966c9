"""Sentences in the language that is spoken, and those that stay English because programs read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cifarlab.language import ENGLISH, speak, spoken, tr


def sentences(texts: Sequence[str]) -> str:
    """Put one sentence after the other, with what the language has between them."""
    text, *rest = texts
    for sentence in rest:
        text = tr("{sentence} {next}", sentence=text, next=sentence)
    return text


@contextmanager
def in_english() -> Iterator[None]:
    """Speak English for a while: what a folder stores and what JSON has is the same whoever asks for it."""
    chosen = spoken()
    speak(ENGLISH)
    try:
        yield
    finally:
        speak(chosen)
