"""Mixup and cutmix against torchvision with the same draw; their distributions against the stated ones."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torchvision.transforms.v2 import CutMix, MixUp

from cifarlab.batches.geometry import Box
from cifarlab.batches.mix import Targets, cutmix, cutmix_box, mix, mixup, plain, remaining_share, symmetric_beta
from cifarlab.recipe.schema import AugmentationSpec

NEIGHBOUR = torch.arange(8).roll(1)  # the partner that torchvision takes


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n: int = 8, height: int = 32, width: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n, 3, height, width, generator=seeded(1)), torch.randint(0, 10, (n,), generator=seeded(2))


class FixedBeta:
    def __init__(self, weight: float) -> None:
        self.weight = weight

    def sample(self, shape: tuple[int, ...]) -> float:
        return self.weight


@pytest.mark.parametrize("weight", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_mixup_equals_torchvision(weight, layout):
    images, labels = batch()
    expected = MixUp(num_classes=10).transform(images, {"labels": labels, "lam": weight, "batch_size": 8})
    mixed = mixup(images.contiguous(memory_format=layout), NEIGHBOUR, torch.tensor(weight))
    torch.testing.assert_close(mixed, expected, rtol=0, atol=1e-6)
    assert mixed.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("size", [(32, 32), (20, 31)])
@pytest.mark.parametrize("weight", [0.0, 0.03, 0.5, 0.77, 0.985, 1.0])
def test_cutmix_equals_torchvision(size, weight):
    images, labels = batch(8, *size)
    theirs = CutMix(num_classes=10)
    theirs._dist = FixedBeta(weight)
    for seed in range(20):
        torch.manual_seed(seed)
        x, y = torch.randint(size[1], (1,)), torch.randint(size[0], (1,))
        torch.manual_seed(seed)
        drawn = theirs.make_params([images])
        box = cutmix_box(torch.tensor(weight), (y + 0.5) / size[0], (x + 0.5) / size[1], *size)
        assert (box.left, box.top, box.right, box.bottom) == drawn["box"]
        assert remaining_share(box, *size).item() == pytest.approx(drawn["lam_adjusted"], abs=1e-6)
        expected = theirs.transform(images, {"labels": labels, "batch_size": 8, **drawn})
        assert torch.equal(cutmix(images, NEIGHBOUR, box), expected)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 2.0, 30.0])
def test_weights_follow_the_beta_distribution(alpha):
    uniform = torch.rand(2, 20_000, generator=seeded(5))
    weights = symmetric_beta(uniform[0], uniform[1], alpha)
    assert weights.min() >= 0 and weights.max() <= 1
    # float32 cannot tell 1 - 1e-9 from 1, and much of Beta(0.05, 0.05) lies there: judge the ends by mass
    exact = weights.double().clamp(1e-7, 1 - 1e-7)
    assert stats.kstest(exact[(exact > 1e-6) & (exact < 1 - 1e-6)], truncated_beta(alpha)).pvalue > 0.01
    for edge in (1e-6, 1e-3):
        expected = stats.beta.cdf(edge, alpha, alpha)
        deviation = (expected * (1 - expected) / 20_000) ** 0.5 + 1e-4
        assert (exact < edge).double().mean().item() == pytest.approx(expected, abs=4 * deviation)


def truncated_beta(alpha):
    low, high = stats.beta.cdf([1e-6, 1 - 1e-6], alpha, alpha)
    return lambda value: (stats.beta.cdf(value, alpha, alpha) - low) / (high - low)


def test_the_ends_of_the_uniform_numbers_give_weights():
    ends = torch.tensor([0.0, 0.25, 0.5, 0.75, 1 - 2**-24])
    for alpha in (1e-3, 0.2, 1.0, 1e3):
        weights = symmetric_beta(*torch.cartesian_prod(ends, ends).unbind(1), alpha)
        assert weights.isfinite().all() and (weights >= 0).all() and (weights <= 1).all()


@pytest.mark.parametrize("spec", [AugmentationSpec(), AugmentationSpec(mixup=1.0, mix_probability=0.0)])
def test_nothing_to_mix_returns_the_batch_itself(spec):
    images, labels = batch()
    mixed, targets = mix(images, labels, spec, seeded())
    assert mixed is images
    assert targets == plain(labels) == Targets(labels, labels, 1.0)


@pytest.mark.parametrize("spec", [AugmentationSpec(mixup=0.4), AugmentationSpec(cutmix=1.0)])
def test_images_and_targets_tell_the_same_story(spec):
    images, labels = batch(64)
    images = labels.float().view(-1, 1, 1, 1).expand_as(images).contiguous()  # each image shows its label
    for seed in range(10):
        mixed, targets = mix(images, labels, spec, seeded(seed))
        shown = targets.weight * targets.first + (1 - targets.weight) * targets.second
        torch.testing.assert_close(mixed.mean((1, 2, 3)), shown, rtol=0, atol=1e-4)
        assert torch.equal(targets.first, labels)
        assert torch.equal(targets.second.sort().values, labels.sort().values)


def kind(images: torch.Tensor, mixed: torch.Tensor) -> str:
    """Tell what happened to images of constant whole numbers: cutmix copies them, mixup makes fractions."""
    if torch.equal(images, mixed):
        return "plain"
    return "cutmix" if torch.equal(mixed, mixed.round()) else "mixup"


@pytest.mark.parametrize(
    ("spec", "shares"),
    [
        (AugmentationSpec(mixup=1.0, cutmix=1.0), {"mixup": 0.5, "cutmix": 0.5}),
        (
            AugmentationSpec(mixup=1.0, cutmix=1.0, mix_probability=0.4),
            {"plain": 0.6, "mixup": 0.2, "cutmix": 0.2},
        ),
        (AugmentationSpec(cutmix=1.0, mix_probability=0.3), {"plain": 0.7, "cutmix": 0.3}),
        (AugmentationSpec(mixup=1.0), {"mixup": 1.0}),
    ],
)
def test_batches_are_mixed_as_often_as_stated(spec, shares):
    images = torch.arange(7.0).view(7, 1, 1, 1).expand(7, 1, 64, 64).contiguous()
    generator, draws = seeded(3), 600
    seen = [kind(images, mix(images, torch.arange(7), spec, generator)[0]) for _ in range(draws)]
    for name in ("plain", "mixup", "cutmix"):
        assert seen.count(name) / draws == pytest.approx(shares.get(name, 0.0), abs=0.08)


def test_the_same_generator_gives_the_same_bits_and_the_next_draw_others():
    images, labels = batch()
    spec, generator = AugmentationSpec(mixup=0.2, cutmix=1.0), seeded(7)
    first, targets = mix(images, labels, spec, seeded(7))
    again, targets_again = mix(images, labels, spec, generator)
    other, _ = mix(images, labels, spec, generator)
    assert torch.equal(first, again) and torch.equal(targets.second, targets_again.second)
    assert torch.equal(targets.weight, targets_again.weight)
    assert not torch.equal(first, other)


def test_an_empty_box_leaves_everything_and_the_full_box_nothing():
    images, _ = batch()
    zero, full = torch.tensor(0.0), torch.tensor(32.0)
    assert torch.equal(cutmix(images, NEIGHBOUR, Box(zero, zero, zero, zero)), images)
    assert torch.equal(cutmix(images, NEIGHBOUR, Box(zero, zero, full, full)), images[NEIGHBOUR])
    assert remaining_share(Box(zero, zero, full, full), 32, 32) == 0


def test_a_batch_of_one_image_is_mixed_with_itself():
    images, labels = batch(1)
    mixed, targets = mix(images, labels, AugmentationSpec(mixup=1.0, cutmix=1.0), seeded())
    torch.testing.assert_close(mixed, images, rtol=0, atol=1e-6)
    assert torch.equal(targets.second, labels)
