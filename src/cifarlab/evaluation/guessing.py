"""Whether an accuracy is better than always predicting the most frequent class."""

from __future__ import annotations

from collections.abc import Mapping

from cifarlab.console import printable
from cifarlab.evaluation.statistics import wilson
from cifarlab.images.sentences import split_name
from cifarlab.language import ntr


def guessing(accuracy: float, counts: Mapping[str, int], split: str) -> str | None:
    """Return a sentence that says that an accuracy is no better than guessing, or None if its interval is above that.

    counts: images of each class in the split, by the name of the class.
    """
    num_images = sum(counts.values())
    most_frequent = max(counts, key=counts.__getitem__)
    guessed = counts[most_frequent] / num_images
    # The accuracy is a fraction of the images; rounded back to how many were right.
    low, high = wilson(round(accuracy * num_images), num_images)
    if low > guessed:
        return None
    return ntr(
        "No better than guessing, as far as {n:,} {split} image shows: {accuracy} are right (95 % interval "
        "{low:.1f} to {high:.1f}), and always naming {name} gets {guessed}.",
        "No better than guessing, as far as {n:,} {split} images show: {accuracy} are right (95 % interval "
        "{low:.1f} to {high:.1f}), and always naming {name} gets {guessed}.",
        num_images,
        n=num_images,
        split=split_name(split),
        accuracy=f"{100 * accuracy:.1f} %",
        low=100 * low,
        high=100 * high,
        name=printable(most_frequent),
        guessed=f"{100 * guessed:.1f} %",
    )
