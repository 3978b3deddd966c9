"""The fused operation against torch's three in double precision."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.kernels.ops.pool_norm_gelu import PoolNormGelu, affine_gelu, norm_add_gelu, pool_norm_gelu
from cifarlab.models.speednet import Norm

pytestmark = pytest.mark.usefixtures("kernels")

GENERATOR = torch.Generator().manual_seed(0)
SHAPES = [(5, 16, 6, 4), (3, 64, 2, 2), (2, 48, 10, 8), (7, 32, 12, 2)]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 8e-3}
"""Of the largest value; bf16 keeps 8 bits."""


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    values = torch.randn(*shape, generator=GENERATOR) * 2 + 0.5
    return values.to(dtype).contiguous(memory_format=torch.channels_last)


def a_norm(channels: int) -> Norm:
    norm = Norm(channels)
    with torch.no_grad():
        norm.bias.normal_(generator=GENERATOR)
    return norm


def plain(x: Tensor, norm: nn.Module, *, pool: bool) -> Tensor:
    return F.gelu(norm(F.max_pool2d(x, 2) if pool else x))


def assert_close(ours: Tensor, exact: Tensor, dtype: torch.dtype) -> None:
    assert ours.shape == exact.shape
    assert (ours - exact).abs().max() <= TOLERANCE[dtype] * exact.abs().max()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_output_gradients_and_statistics_are_those_of_the_three(
    shape: tuple[int, int, int, int], pool: bool, dtype: torch.dtype
) -> None:
    ours = a_norm(shape[1])
    theirs = copy.deepcopy(ours).double()
    x = draw(*shape, dtype=dtype).requires_grad_()
    exact_x = x.detach().double().requires_grad_()
    for _ in range(2):  # so that the running statistics move twice
        found, exact = pool_norm_gelu(x, ours, pool=pool), plain(exact_x, theirs, pool=pool)
    assert type(found.grad_fn).__name__ == "PoolNormGeluBackward"
    assert found.dtype == dtype
    upstream = draw(*found.shape, dtype=dtype)
    gradients = torch.autograd.grad(found, (x, ours.bias), upstream)
    exact_gradients = torch.autograd.grad(exact, (exact_x, theirs.bias), upstream.double())
    assert_close(found, exact, dtype)
    for mine, other in zip(gradients, exact_gradients, strict=True):
        assert_close(mine, other, dtype)
    for name, value in ours.state_dict().items():
        assert_close(value.double(), theirs.state_dict()[name].double(), torch.float32)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_shortcut_is_added_in_front_of_gelu(dtype: torch.dtype) -> None:
    ours = a_norm(48)
    theirs = copy.deepcopy(ours).double()
    x, added = (draw(5, 48, 7, 3, dtype=dtype).requires_grad_() for _ in range(2))
    exact_x, exact_added = (leaf.detach().double().requires_grad_() for leaf in (x, added))
    found, exact = norm_add_gelu(x, ours, added), F.gelu(theirs(exact_x) + exact_added)
    assert type(found.grad_fn).__name__ == "NormAddGeluBackward"
    upstream = draw(*found.shape, dtype=dtype)
    gradients = torch.autograd.grad(found, (x, added, ours.bias), upstream)
    exact_gradients = torch.autograd.grad(exact, (exact_x, exact_added, theirs.bias), upstream.double())
    assert_close(found, exact, dtype)
    for mine, other in zip(gradients, exact_gradients, strict=True):
        assert_close(mine, other, dtype)
    for name, value in ours.state_dict().items():
        assert_close(value.double(), theirs.state_dict()[name].double(), torch.float32)


@pytest.mark.parametrize("norm", [a_norm(16).eval(), nn.Identity()])
def test_a_shortcut_is_added_in_evaluation_too(norm: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    x, added = draw(3, 16, 6, 6), draw(3, 16, 6, 6)
    with torch.no_grad():
        exact = F.gelu(norm(x) + added)
        monkeypatch.setattr(F, "gelu", None)  # torch's own is not asked
        assert_close(norm_add_gelu(x, norm, added), exact, torch.float32)


@pytest.mark.parametrize(
    ("x", "added"),
    [
        (draw(2, 24, 4, 4), draw(2, 24, 4, 4)),
        (draw(2, 16, 4, 4), draw(2, 16, 1, 1)),
        (draw(2, 16, 4, 4), draw(2, 16, 4, 4, dtype=torch.bfloat16)),
    ],
)
def test_a_shortcut_the_kernels_do_not_take_is_torchs(x: Tensor, added: Tensor) -> None:
    ours = a_norm(x.shape[1])
    theirs = copy.deepcopy(ours)
    assert torch.equal(norm_add_gelu(x, ours, added), F.gelu(theirs(x) + added))


def test_gradients_through_a_shortcut_in_evaluation_mode_are_torchs() -> None:
    norm, x, added = a_norm(16).eval(), draw(2, 16, 4, 4), draw(2, 16, 4, 4).requires_grad_()
    found = norm_add_gelu(x, norm, added)
    assert torch.equal(found, F.gelu(norm(x) + added))
    assert found.requires_grad


@pytest.mark.parametrize("pool", [True, False])
def test_evaluation_uses_the_running_statistics_and_leaves_them(pool: bool) -> None:
    norm = a_norm(32)
    pool_norm_gelu(draw(8, 32, 4, 4), norm, pool=pool)
    norm.eval()
    before, x = copy.deepcopy(norm.state_dict()), draw(3, 32, 6, 6)
    with torch.no_grad():
        assert_close(pool_norm_gelu(x, norm, pool=pool), plain(x, norm, pool=pool), torch.float32)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_gradients_in_evaluation_mode_are_torchs() -> None:
    norm, x = a_norm(16).eval(), draw(2, 16, 4, 4).requires_grad_()
    found = pool_norm_gelu(x, norm, pool=True)
    assert torch.equal(found, plain(x, norm, pool=True))
    assert found.requires_grad


@pytest.mark.parametrize("pool", [True, False])
def test_where_a_norm_was_folded_there_is_none(pool: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x = draw(3, 16, 6, 6)
    monkeypatch.setattr(F, "gelu", None)  # torch's own is not asked
    found = pool_norm_gelu(x, nn.Identity(), pool=pool)
    monkeypatch.undo()
    assert_close(found, plain(x, nn.Identity(), pool=pool), torch.float32)


@pytest.mark.parametrize(
    "x", [draw(2, 24, 4, 4), draw(2, 16, 5, 4), draw(2, 16, 4, 4).contiguous(), draw(2, 16, 4, 4).double()]
)
def test_what_the_kernels_do_not_take_is_torchs(x: Tensor) -> None:
    ours = a_norm(x.shape[1]).to(x.dtype)
    theirs = copy.deepcopy(ours)
    found = pool_norm_gelu(x.requires_grad_(), ours, pool=True)
    assert torch.equal(found, plain(x, theirs, pool=True))


def test_one_value_per_channel_is_refused_as_batch_norm_does() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        pool_norm_gelu(draw(1, 16, 1, 1), a_norm(16), pool=False)


def test_of_equal_values_the_first_of_the_window_gets_the_gradient() -> None:
    x = torch.ones(2, 16, 4, 4).contiguous(memory_format=torch.channels_last)
    x[0] = 0
    x.requires_grad_()
    upstream = draw(2, 16, 2, 2)
    (ours,) = torch.autograd.grad(pool_norm_gelu(x, a_norm(16), pool=True), x, upstream)
    assert ours[:, :, ::2, ::2].abs().min() > 0
    assert ours[:, :, 1::2].abs().max() == ours[:, :, :, 1::2].abs().max() == 0


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_value_that_is_no_number_is_not_hidden_by_the_pool(place: int) -> None:
    x = draw(1, 16, 2, 2)
    x[0, 3, place // 2, place % 2] = torch.nan
    found = pool_norm_gelu(x, nn.Identity(), pool=True)
    assert found.isnan().flatten().tolist() == [channel == 3 for channel in range(16)]


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_gelu_is_gelu_from_end_to_end(dtype: torch.dtype) -> None:
    ends = torch.tensor([0.0, -0.0, 1e-30, -1e-30, 3e4, -3e4, 1e4, torch.inf])
    x = torch.cat([torch.linspace(-12, 12, 4008), ends])
    x = x.to(dtype).view(1, 16, -1, 1).contiguous(memory_format=torch.channels_last)
    exact = F.gelu(x.double())
    found = affine_gelu(x, torch.tensor([[1.0], [0.0]]).repeat(1, 16)).double()
    finite = exact.isfinite()
    assert torch.equal(found[~finite], exact[~finite])
    assert ((found - exact).abs()[finite] <= 4e-7 + TOLERANCE[dtype] * exact.abs()[finite] / 2).all()


def test_no_denormal_number_comes_out() -> None:
    """x86 multiplies them a hundred times as slowly as others: noise had 300 predictions a second instead of 2,400."""
    x = torch.cat([torch.linspace(-16, -11, 4064), torch.full((32,), 1e-39)]).view(1, 16, -1, 1)
    x = x.contiguous(memory_format=torch.channels_last)
    found = affine_gelu(x, torch.tensor([[1.0], [0.0]]).repeat(1, 16))
    assert ((found == 0) | (found.abs() >= torch.finfo(torch.float32).tiny)).all()
    one = torch.full((1,), 1e-39)
    assert one * 1 == one and one + 0 != 0  # the caller's arithmetic is as it was


@pytest.mark.parametrize("mean", [0.0, 50.0, 5000.0])
@pytest.mark.parametrize("pool", [True, False])
def test_statistics_beside_a_large_mean_are_torchs(mean: float, pool: bool) -> None:
    x, ours = draw(16, 16, 12, 12) + mean, a_norm(16)
    theirs = copy.deepcopy(ours).double()
    exact_x = x.double().requires_grad_()
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    found, exact = pool_norm_gelu(x, ours, pool=pool), plain(exact_x, theirs, pool=pool)
    torch.testing.assert_close(ours.running_var.double(), theirs.running_var, rtol=1e-4, atol=0)
    assert (found - exact).abs().max() < 1e-5 + 1e-6 * mean  # x itself is rounded to 1e-7 of the mean
    upstream = draw(*found.shape)
    (gradient,) = torch.autograd.grad(found, x, upstream)
    (exact_gradient,) = torch.autograd.grad(exact, exact_x, upstream.double())
    assert (gradient - exact_gradient).norm() < (1e-5 + 1e-6 * mean) * exact_gradient.norm()


def test_the_same_bits_come_out_twice_and_nearly_the_same_with_another_number_of_threads() -> None:
    x, upstream = draw(40, 64, 8, 8), draw(40, 64, 4, 4)

    def gradient() -> Tensor:
        leaf = x.clone().requires_grad_()
        norm = Norm(64)
        return torch.autograd.grad(PoolNormGelu.apply(leaf, norm.bias, norm, True, None), leaf, upstream)[0]

    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 1, 3, 3):
            torch.set_num_threads(threads)
            found.append(gradient())
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[2], found[3])
    assert_close(found[2], found[0], torch.float32)


def test_sums_that_are_known_are_taken() -> None:
    x, added, norm = draw(4, 16, 5, 3), draw(4, 16, 5, 3), Norm(16)
    values = x.double()
    sums = torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
    for operation in (partial(pool_norm_gelu, pool=False), partial(norm_add_gelu, shortcut=added)):
        expected = operation(x, norm)
        assert torch.allclose(operation(x, norm, sums=sums), expected, atol=1e-5)
        assert (operation(x, norm, sums=2 * sums) - expected).abs().max() > 0.01
