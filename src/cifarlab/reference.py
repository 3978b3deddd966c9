"""Where a recipe comes from."""

from __future__ import annotations

from cifarlab.section import Fraction, Section


class ReferenceSpec(Section):
    """Where the experiment comes from and what its authors reported."""

    title: str
    """Project or paper."""
    url: str = ""
    """Where it can be read."""
    reported_accuracy: Fraction | None = None
    """The test accuracy that its authors reported."""
    differences: str = ""
    """What is done differently here, and why."""
