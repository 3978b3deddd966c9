"""Whether an accuracy is better than always predicting the most frequent class."""

from __future__ import annotations

from collections.abc import Mapping

from cifarlab.console import printable
from cifarlab.evaluation.statistics import wilson


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
    interval = f"95 % interval {100 * low:.1f} to {100 * high:.1f}"
    return (
        f"No better than guessing, as far as {num_images:,} {split} images show: {100 * accuracy:.1f} % are right "
        f"({interval}), and always naming {printable(most_frequent)} gets {100 * guessed:.1f} %."
    )
