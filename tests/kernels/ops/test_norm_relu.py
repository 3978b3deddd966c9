"""The fused operation against torch's three in double precision."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.kernels.ops import batch_norm
from cifarlab.kernels.ops.batch_norm import lanes
from cifarlab.kernels.ops.norm_relu import affine_relu, empty_mask, means_gradient, norm_relu

pytestmark = pytest.mark.usefixtures("kernels")

GENERATOR = torch.Generator().manual_seed(0)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 8e-3}
"""Of the largest value; bf16 keeps 8 bits."""


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    # drawn in float64, so that float32 is the same on every CPU: a channel of three values that hardly differ magnifies
    # a last bit beyond the tolerance
    values = torch.randn(*shape, generator=GENERATOR, dtype=torch.float64) * 2 + 0.5
    return values.to(dtype).contiguous(memory_format=torch.channels_last)


def a_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.normal_(generator=GENERATOR)
        norm.bias.normal_(generator=GENERATOR)
    return norm


def plain(x: Tensor, norm: nn.Module, shortcut: Tensor | None) -> Tensor:
    return F.relu(norm(x) if shortcut is None else norm(x) + shortcut)


def assert_close(ours: Tensor, exact: Tensor, dtype: torch.dtype) -> None:
    assert ours.shape == exact.shape
    assert (ours - exact).abs().max() <= TOLERANCE[dtype] * exact.abs().max()


@pytest.mark.parametrize("shape", [(5, 16, 3, 4), (3, 64, 1, 1), (2, 48, 7, 7)])
@pytest.mark.parametrize("with_shortcut", [True, False])
def test_output_gradients_and_statistics_are_those_of_the_three(
    shape: tuple[int, int, int, int], with_shortcut: bool
) -> None:
    ours = a_norm(shape[1])
    theirs = copy.deepcopy(ours).double()
    leaves = [draw(*shape).requires_grad_() for _ in range(2 if with_shortcut else 1)]
    exact_leaves = [leaf.detach().double().requires_grad_() for leaf in leaves]
    for _ in range(2):  # so that the running statistics move twice
        found = norm_relu(leaves[0], ours, *leaves[1:])
        exact = plain(exact_leaves[0], theirs, exact_leaves[1] if with_shortcut else None)
    assert type(found.grad_fn).__name__ == ("NormAddReluBackward" if with_shortcut else "NormReluBackward")
    upstream = draw(*shape)
    gradients = torch.autograd.grad(found, (*leaves, ours.weight, ours.bias), upstream)
    exact_gradients = torch.autograd.grad(exact, (*exact_leaves, theirs.weight, theirs.bias), upstream.double())
    assert_close(found, exact, torch.float32)
    for mine, other in zip(gradients, exact_gradients, strict=True):
        assert_close(mine, other, torch.float32)
    for name, value in ours.state_dict().items():
        assert_close(value.double(), theirs.state_dict()[name].double(), torch.float32)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("with_shortcut", [True, False])
def test_what_passes_relu_is_kept_as_one_bit_each(dtype: torch.dtype, with_shortcut: bool) -> None:
    x, shortcut = draw(3, 48, 5, 4, dtype=dtype), draw(3, 48, 5, 4, dtype=dtype)
    norm = a_norm(48)
    stats = batch_norm.batch_statistics(norm, batch_norm.channel_sums(x), batch_norm.num_pixels(x))
    mask = empty_mask(x)
    output = affine_relu(x, stats.affine, shortcut if with_shortcut else None, mask=mask)
    bits = mask[..., None] >> torch.arange(lanes(), dtype=mask.dtype) & 1
    assert torch.equal(bits.flatten(3).permute(0, 3, 1, 2) == 1, output > 0)
    assert 0.2 < bits.double().mean() < 0.8


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shortcut_relu", [False, True])
def test_what_is_added_may_be_normed_as_well(dtype: torch.dtype, shortcut_relu: bool) -> None:
    x, shortcut, norms = draw(3, 48, 5, 4, dtype=dtype), draw(3, 48, 5, 4, dtype=dtype), [a_norm(48) for _ in range(2)]
    theirs = copy.deepcopy(norms)
    stats, shortcut_stats = (
        batch_norm.batch_statistics(norm, batch_norm.channel_sums(values), batch_norm.num_pixels(values))
        for norm, values in zip(norms, (x, shortcut), strict=True)
    )
    of_x, other = (norm.double()(values.double()) for norm, values in zip(theirs, (x, shortcut), strict=True))
    exact = F.relu(of_x + (F.relu(other) if shortcut_relu else other))
    found = affine_relu(x, stats.affine, shortcut, shortcut_affine=shortcut_stats.affine, shortcut_relu=shortcut_relu)
    assert_close(found, exact, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_gradient_of_means_ends_at_relu_and_is_added_up(dtype: torch.dtype) -> None:
    x, output = draw(3, 48, 5, 4, dtype=dtype), F.relu(draw(3, 48, 5, 4, dtype=dtype))
    gradient, sums = draw(3, 48, 1, 1, dtype=dtype).flatten(1), torch.full((2, 48), 5.0, dtype=torch.float64)
    found = means_gradient(gradient, x, output, sums)
    exact = torch.where(output > 0, gradient.double()[:, :, None, None] / 20, 0.0)
    assert_close(found, exact, dtype)
    assert_close(sums - 5, torch.stack([exact.sum((0, 2, 3)), (exact * x).sum((0, 2, 3))]), dtype)


def test_sums_that_are_known_are_taken() -> None:
    x, norm = draw(4, 16, 5, 3), a_norm(16)
    values = x.double()
    sums = torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
    assert_close(norm_relu(x, copy.deepcopy(norm), sums=sums), norm_relu(x, norm).double(), torch.float32)
    assert (norm_relu(x, norm, sums=2 * sums) - norm_relu(x, norm)).abs().max() > 0.01


def test_in_bf16_it_rounds_once() -> None:
    ours, x, shortcut = a_norm(32), draw(6, 32, 5, 5, dtype=torch.bfloat16), draw(6, 32, 5, 5, dtype=torch.bfloat16)
    exact = plain(x.double(), copy.deepcopy(ours).double(), shortcut.double())
    found = norm_relu(x, ours, shortcut)
    assert found.dtype == torch.bfloat16
    assert ((found - exact).abs() <= 2**-8 * exact.abs() + 1e-5).all()


@pytest.mark.parametrize(
    ("x", "shortcut"),
    [
        (draw(2, 24, 4, 4), None),
        (draw(2, 16, 4, 4).contiguous(), None),
        (draw(2, 16, 4, 4).double(), None),
        (draw(2, 16, 4, 4), draw(2, 16, 4, 4).double()),
        (draw(2, 16, 4, 4), draw(1, 16, 1, 1)),
    ],
)
def test_what_the_kernels_do_not_take_is_torchs(x: Tensor, shortcut: Tensor | None) -> None:
    norm = a_norm(x.shape[1]).to(x.dtype)
    assert torch.equal(norm_relu(x, copy.deepcopy(norm), shortcut), plain(x, norm, shortcut))


def test_evaluation_and_other_norms_are_torchs() -> None:
    x = draw(3, 16, 4, 4)
    without_memory = nn.BatchNorm2d(16, track_running_stats=False)
    cumulative = nn.BatchNorm2d(16, momentum=None)
    for norm in (a_norm(16).eval(), without_memory, cumulative, nn.Identity()):
        assert torch.equal(norm_relu(x.clone(), norm), plain(x, copy.deepcopy(norm), None))


def test_what_is_no_number_stays_none() -> None:
    x, norm = draw(4, 16, 2, 2), a_norm(16)
    shortcut = torch.zeros_like(x)
    shortcut[1, 2, 0, 0] = torch.nan
    found = norm_relu(x, norm, shortcut)
    assert found.isnan().sum() == 1
    assert found[1, 2, 0, 0].isnan()
