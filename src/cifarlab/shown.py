"""What objects show of themselves: HTML where a notebook asks for it, and one line everywhere else.

A recipe, a run, images and an evaluation lie below the modules that draw and cannot import them. So the drawing is
handed down, by `cifarlab/__init__.py`, which lies above all and is loaded before anything else here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

drawn_by: Callable[[Shown], str] | None = None
"""Draws an object as HTML; None only until `cifarlab/__init__.py` has set it."""


class Shown:
    """An object that notebooks (Jupyter, Colab, VS Code, marimo) show as HTML."""

    def _repr_html_(self) -> str | None:
        return None if drawn_by is None else drawn_by(self)


def accuracy_text(accuracy: float, interval: Sequence[float], digits: int = 1) -> str:
    """Write an accuracy with its interval in short: "85.2 % (84.5 to 85.9)"."""
    low, high = (f"{100 * end:.{digits}f}" for end in interval)
    return f"{100 * accuracy:.{digits}f} % ({low} to {high})"
