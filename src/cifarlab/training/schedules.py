"""The learning rate, the image size and the start of hard examples, as pure functions of the step.

torch's schedulers count their own calls; functions of the step have no state that a checkpoint could miss.
"""

from __future__ import annotations

import math

from cifarlab.recipe.duration import duration_steps
from cifarlab.recipe.schema import ScheduleSpec, TrainingSpec

SIZE_STEP = 4
"""Pixels by which growing images grow: few sizes, so that each is trained on for many steps."""


def lr_factor(spec: ScheduleSpec, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """The factor on the base learning rate at `step`, counted from 0.

    The shapes are those of torch.optim.lr_scheduler advanced once per optimizer step; one-cycle is that of
    Smith and Topin, 2017. During the warm-up the factor rises linearly and reaches the shape at its last step.
    """
    warmup = duration_steps(spec.warmup, steps_per_epoch, total_steps)
    if step < warmup:  # step + 1, since a first step at a rate of 0 would be lost
        return (step + 1) / warmup * _shape(spec, warmup, warmup, steps_per_epoch, total_steps)
    return _shape(spec, step, warmup, steps_per_epoch, total_steps)


def image_size(spec: TrainingSpec, full_size: int, step: int, steps_per_epoch: int, total_steps: int) -> int:
    """The side in pixels of the training images at `step`: it grows evenly from start_size to `full_size`.

    Small images cost little and teach the coarse features first (progressive resizing; Howard and others, 2018).
    """
    if spec.start_size is None or spec.start_size >= full_size:
        return full_size
    growing = duration_steps(spec.full_size_from, steps_per_epoch, total_steps)
    if step >= growing:
        return full_size
    # sizes below the full one, each for the same number of steps; rounded up, since the last rise may be a part of 4 px
    num_sizes = -(-(full_size - spec.start_size) // SIZE_STEP)
    return spec.start_size + step * num_sizes // growing * SIZE_STEP


def first_hard_step(spec: TrainingSpec, steps_per_epoch: int, total_steps: int) -> int:
    """The step before which hard images are chosen for the first time: the first of an epoch, but not of the first."""
    # at least 1, so that every image has been drawn, and has a loss, once
    start = max(1, duration_steps(spec.hard_from, steps_per_epoch, total_steps))
    return -(-start // steps_per_epoch) * steps_per_epoch  # rounded up: an order of images holds for a whole epoch


def _shape(spec: ScheduleSpec, step: int, warmup: int, steps_per_epoch: int, total_steps: int) -> float:
    """The factor without its warm-up."""
    # linear and cosine fall over what the warm-up leaves; the others count from the beginning of the training
    done = min(1.0, (step - warmup) / max(1, total_steps - warmup))
    match spec.name:
        case "constant":
            return 1.0
        case "linear":
            return 1.0 + (spec.final - 1.0) * done
        case "cosine":
            return _cosine(1.0, spec.final, done)
        case "step":
            every = max(1, duration_steps(spec.every, steps_per_epoch, total_steps))
            return float(spec.gamma ** (step // every))
        case "multistep":
            passed = sum(step >= duration_steps(each, steps_per_epoch, total_steps) for each in spec.milestones)
            return float(spec.gamma**passed)
        case "one-cycle":
            # the rise ends at step peak - 1 and the fall at total_steps - 1, as in torch's OneCycleLR
            peak = duration_steps(spec.peak, steps_per_epoch, total_steps)
            top, end = max(1, peak - 1), max(1, total_steps - 1)
            if step <= top:
                return _cosine(spec.start, 1.0, step / top)
            return _cosine(1.0, spec.final, min(1.0, (step - top) / max(1, end - top)))


def _cosine(start: float, end: float, done: float) -> float:
    """Half a cosine wave from `start` to `end`; done: 0..1."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
