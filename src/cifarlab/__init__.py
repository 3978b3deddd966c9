"""A laboratory for small-image classification: from data to an honestly tested model in one command."""

from __future__ import annotations

from cifarlab.version import VERSION

__version__ = VERSION
