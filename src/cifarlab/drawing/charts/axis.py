"""Axes of charts: their ends, their ticks, and how their values are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ROOM = 0.04
"""Space above and below the values, as a fraction of their range."""
NUM_TICKS = 5
"""The number of ticks aimed at."""
SLACK = 1e-9
"""Relative to a tick's step: an end that should be a round number is often off by a rounding error."""


@dataclass(frozen=True)
class Axis:
    """A range of values. `percent` values are fractions in 0..1, shown as percentages; `log` needs positive ends.

    `whole`: the values are whole numbers, so ticks are whole, too.
    """

    low: float
    high: float
    log: bool = False
    percent: bool = False
    whole: bool = False

    @classmethod
    def along(cls, values: Sequence[float], *, log: bool = False) -> Axis:
        """Make an x axis from the lowest to the highest of the values, of which there must be at least one."""
        if log:
            values = [value for value in values if value > 0] or [1.0]
        low, high = min(values), max(values)
        if low == high:  # a run of one epoch: an axis without a length has no places
            return cls(low / 10, high * 10, log=True) if log else cls(low - 1, high + 1, whole=True)
        return cls(low, high, log=log, whole=all(value == int(value) for value in values) and not log)

    @classmethod
    def around(cls, values: Sequence[float], *, percent: bool = False) -> Axis:
        """Make a y axis with some room beyond the values, of which there must be at least one.

        No room is added beyond 0 if the values end there, nor beyond 0 and 100 % if `percent`.
        """
        low, high = min(values), max(values)
        room = ROOM * (high - low) or abs(high) / 10 or 0.1  # equal values still need a range
        start = low if low == 0 < high else low - room
        end = high if high == 0 > low else high + room
        if percent:  # differences of fractions may be negative, or exceed 100 %
            start, end = (max(start, 0.0) if low >= 0 else start), (min(end, 1.0) if high <= 1 else end)
        return cls(start, end, percent=percent)

    def share(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high one."""
        if self.log:
            start, end = math.log(self.low), math.log(self.high)
            return (math.log(max(value, self.low)) - start) / (end - start)  # 0 has no logarithm
        return (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """Round values within the range: powers of ten, or multiples of 1, 2 or 5 times a power of ten."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - SLACK), math.floor(math.log10(self.high) + SLACK)
            stride = max(1, math.ceil((last - first) / NUM_TICKS))
            powers = [10.0**exponent for exponent in range(first, last + 1, stride)]
            return powers if len(powers) > 1 else [self.low, self.high]  # less than a decade
        rough = (self.high - self.low) / NUM_TICKS
        power = 10.0 ** math.floor(math.log10(rough))  # rough is 1 to 10 times this
        step = power * min((factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999), default=10)
        step = max(step, 1.0) if self.whole else step  # epoch 1.5 does not exist
        first, last = math.ceil(self.low / step - SLACK), math.floor(self.high / step + SLACK)
        return [index * step for index in range(first, last + 1)]  # by multiples: sums would drift

    def text(self, value: float) -> str:
        """Write a value in up to four digits, with a percent sign where the axis has percentages."""
        return f"{number(round(100 * value, 2))} %" if self.percent else number(value)


def number(value: float) -> str:
    """Write a number in up to four digits, or, from a thousand on, without decimals."""
    if 1000 <= abs(value) < 1e7:
        return f"{round(value):,}".replace("-", "−")
    digits, e, exponent = f"{value:.4g}".partition("e")
    return f"{digits}{e}{int(exponent) if e else ''}".replace("-", "−")  # "1e−5", not Python's "1e-05"
