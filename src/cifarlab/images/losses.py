"""Sentences about what is lost when images are read, each with the option that avoids it; to be `retold`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from cifarlab.language import translatable
from cifarlab.recipe.schema import WHITE_LEVEL, Fit

CUT_WORTH_A_WORD = 0.1
"""Share of the area of a typical image; cropping that cuts off more than this is reported."""

DARK = {
    "grey": translatable(
        "The highest value in the grey images of 16 bits is {brightest:,} of {white:,}: they are read as nearly "
        "black, with {levels} levels left. If they hold {bits} bits, set data.white_level = {white_level}."
    ),
    "stored": translatable(
        "The highest value in the stored images of 16 bits is {brightest:,} of {white:,}: they are read as nearly "
        "black, with {levels} levels left. If they hold {bits} bits, set data.white_level = {white_level}."
    ),
    "colour": translatable(
        "The highest value in the colour images of 16 bits is {brightest:,} of {white:,}: they are read as nearly "
        "black, with {levels} levels left. If they hold {bits} bits, convert them to 8 bits."
    ),
}
"""Kind of images -> what `dark` says of them."""


def cropped(sizes: Counter[tuple[int, int]], fit: Fit) -> Iterator[str]:
    """Say how much cropping cuts off images of these heights and widths."""
    # the median: photographs of 4:3 lose a quarter each, and one panorama among squares changes nothing
    cuts = sorted(1 - min(size) / max(size) for size in sizes.elements())
    if fit == "crop" and cuts and (cut := cuts[len(cuts) // 2]) > CUT_WORTH_A_WORD:
        height, width = sizes.most_common(1)[0][0]
        text = translatable(
            "Cropping to the centre cuts {cut:.0%} off a typical image (most often {width} x {height} px): "
            'data.fit = "pad" or "stretch" (--fit) keeps the whole.'
        )
        yield text.format(cut=cut, width=width, height=height)


def dark(kind: str, brightest: int, white_level: int) -> Iterator[str]:
    """Say how many levels are left if values of 16 bits use fewer; kind: of the images, in DARK."""
    # medical and scientific cameras store 10, 12 or 14 bits in files of 16: 4,095 as white, of 65,535
    bits = brightest.bit_length()
    if 0 < bits < 16 and white_level == WHITE_LEVEL:
        levels = brightest * 255 // WHITE_LEVEL + 1
        yield DARK[kind].format(
            brightest=brightest, white=WHITE_LEVEL, levels=levels, bits=bits, white_level=2**bits - 1
        )


def white(brightest: int, white_level: int) -> Iterator[str]:
    """Say that values above the white level become white."""
    if brightest > white_level:
        text = translatable("Values up to {brightest:,} are above data.white_level = {white_level:,}: white, too.")
        yield text.format(brightest=brightest, white_level=white_level)
