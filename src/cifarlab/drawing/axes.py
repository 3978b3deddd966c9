"""Axes of inline charts: round ticks, and from values to places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

CHARACTER = 7.2
"""Mean width of a letter, in units of the drawings."""
LARGEST = 1e100
"""What is not smaller comes from a network that diverged, and is not drawn."""
ROOM = 0.04
"""Beyond the values, as a share of their range."""
NUM_TICKS = 5
"""About how many ticks an axis gets."""


@dataclass(frozen=True)
class Axis:
    """A range of values; `percent` values are fractions, shown times 100; a `log` axis has positive ends.

    `whole` values are counted, so there is no tick between them.
    """

    low: float
    high: float
    log: bool = False
    percent: bool = False
    whole: bool = False

    @classmethod
    def along(cls, values: Sequence[float], *, log: bool = False) -> Axis:
        """The x axis from the lowest to the highest of these values, of which there is at least one."""
        if log:
            values = [value for value in values if value > 0] or [1.0]
        low, high = min(values), max(values)
        if low == high:
            return cls(low / 10, high * 10, log=True) if log else cls(low - 1, high + 1, whole=True)
        return cls(low, high, log=log, whole=all(value == int(value) for value in values) and not log)

    @classmethod
    def around(cls, values: Sequence[float], *, log: bool = False, percent: bool = False) -> Axis:
        """The axis with some room beyond these values, of which there is at least one, but none beyond 0 or 100 %."""
        if log:
            return replace(cls.along(values, log=True), percent=percent)
        low, high = min(values), max(values)
        room = ROOM * (high - low) or abs(high) / 10 or 0.1
        start = low if low == 0 < high else low - room
        end = high if high == 0 > low else high + room
        if percent:
            start, end = (max(start, 0.0) if low >= 0 else start), (min(end, 1.0) if high <= 1 else end)
        return cls(start, end, percent=percent)

    def share(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high one."""
        if self.log:
            start, end = math.log(self.low), math.log(self.high)
            return (math.log(max(value, self.low)) - start) / (end - start)
        return (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """Round values within the range: powers of ten, or multiples of 1, 2 or 5 times one."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            stride = max(1, math.ceil((last - first) / NUM_TICKS))
            powers = [10.0**exponent for exponent in range(first, last + 1, stride)]
            return powers if len(powers) > 1 else [self.low, self.high]
        rough = (self.high - self.low) / NUM_TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = power * min((factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999), default=10)
        step = max(step, 1.0) if self.whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]

    @property
    def room(self) -> float:
        """Width of the longest tick's text."""
        return CHARACTER * max(len(self.text(value)) for value in self.ticks)

    def text(self, value: float) -> str:
        """A value as a reader wants it: with a percent sign, or with four digits."""
        return f"{number(round(100 * value, 2))} %" if self.percent else number(value)


@dataclass(frozen=True)
class Frame:
    """The rectangle that a chart draws in, in units of its SVG; without a y axis rows are laid out by the caller."""

    x_axis: Axis
    y_axis: Axis | None
    width: float
    height: float
    left: float = 58.0
    right: float = 24.0
    top: float = 10.0
    bottom: float = 46.0

    @property
    def inner_width(self) -> float:
        """Without the margins."""
        return self.width - self.left - self.right

    @property
    def inner_height(self) -> float:
        """Without the margins."""
        return self.height - self.top - self.bottom

    def at_x(self, x: float) -> float:
        """The place of a value on the x axis."""
        return self.left + self.inner_width * self.x_axis.share(x)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point."""
        assert self.y_axis is not None
        return self.at_x(x), self.top + self.inner_height * (1 - self.y_axis.share(y))

    def y_text(self, value: float) -> str:
        """A value of the y axis in words."""
        assert self.y_axis is not None
        return self.y_axis.text(value)

    def drawn(self, x_label: str, y_label: str) -> Markup:
        """Grid lines, ticks and the names of both axes."""
        bottom = self.top + self.inner_height
        parts = [self._x_tick(value, bottom) for value in self.x_axis.ticks]
        if self.y_axis is not None:
            parts += [self._y_tick(value) for value in self.y_axis.ticks]
        parts.append(
            Markup('<text class="axis" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(
                self.left + self.inner_width / 2, self.height - 6, x_label
            )
        )
        if y_label:
            place = f"translate(13,{self.top + self.inner_height / 2:.1f}) rotate(-90)"
            parts.append(
                Markup('<text class="axis" transform="{}" text-anchor="middle">{}</text>').format(place, y_label)
            )
        return Markup().join(parts)

    def _x_tick(self, value: float, bottom: float) -> Markup:
        kind = "zero" if value == 0 and self.x_axis.low < 0 else "grid"
        return Markup(
            '<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
            '<text class="tick" x="{x:.1f}" y="{below}" text-anchor="middle">{text}</text>'
        ).format(
            kind=kind, x=self.at_x(value), top=self.top, bottom=bottom, below=bottom + 17, text=self.x_axis.text(value)
        )

    def _y_tick(self, value: float) -> Markup:
        assert self.y_axis is not None
        y = self.top + self.inner_height * (1 - self.y_axis.share(value))
        return Markup(
            '<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text class="tick" x="{before}" y="{low:.1f}" text-anchor="end">{text}</text>'
        ).format(
            left=self.left,
            right=self.width - self.right,
            y=y,
            before=self.left - 7,
            low=y + 4,
            text=self.y_axis.text(value),
        )


def number(value: float) -> str:
    """A number in up to four digits, or, from a thousand on, without decimals."""
    if 1000 <= abs(value) < 1e7:
        return f"{round(value):,}".replace("-", "−")
    digits, e, exponent = f"{value:.4g}".partition("e")
    return f"{digits}{e}{int(exponent) if e else ''}".replace("-", "−")
