import math

import pytest
import torch
from torch import nn

from cifarlab.training.optim.muon import Muon, orthogonal_filters, orthogonalise


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 8, 32), (2, 32, 8), (1, 16, 16)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, ...]) -> None:
    matrices = random(*shape)
    left, before, right = torch.linalg.svd(matrices, full_matrices=False)
    found = orthogonalise(matrices)
    after = left.mT @ found @ right.mT
    diagonal = after.diagonal(dim1=1, dim2=2)
    assert (after - torch.diag_embed(diagonal)).abs().max() < 1e-4
    large = before / before.norm(dim=1, keepdim=True) > 0.05
    assert diagonal[large].min() > 0.4
    assert diagonal.max() < 1.3


def test_the_iteration_is_the_published_quintic() -> None:
    """On a diagonal matrix each value is x -> 3.4445 x - 4.7750 x^3 + 2.0315 x^5, three times, from norm 1."""
    values = torch.tensor([3.0, 1.0, 0.2])
    x = values / values.norm()
    for _ in range(3):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    found = orthogonalise(torch.diag(values)[None])[0]
    torch.testing.assert_close(found, torch.diag(x), atol=1e-6, rtol=1e-5)


def test_a_matrix_does_not_depend_on_its_scale_or_on_its_neighbours() -> None:
    matrices = random(4, 6, 10)
    together = orthogonalise(matrices)
    for alone, one in zip(together, matrices, strict=True):
        torch.testing.assert_close(orthogonalise(one[None] * 1000)[0], alone, atol=1e-5, rtol=1e-4)


def test_zeros_stay_zeros_and_a_transpose_gives_the_transpose() -> None:
    assert not orthogonalise(torch.zeros(1, 3, 5)).any()
    matrix = random(1, 4, 9)
    torch.testing.assert_close(orthogonalise(matrix.mT), orthogonalise(matrix).mT)


def test_bf16_is_exact_enough() -> None:
    matrix = random(1, 64, 576)
    exact, coarse = orthogonalise(matrix), orthogonalise(matrix, torch.bfloat16)
    assert coarse.dtype == torch.float32
    assert (exact - coarse).norm() < 0.03 * exact.norm()


def test_filters_of_different_shapes_keep_order_and_shape() -> None:
    filters = [random(8, 3, 3, 3), random(4, 8, 3, 3), random(8, 3, 3, 3, seed=1)]
    found = orthogonal_filters(filters, torch.float32)
    for before, after in zip(filters, found, strict=True):
        torch.testing.assert_close(after, orthogonalise(before.flatten(1)[None])[0].view(before.shape))


def groups(weight: nn.Parameter, bias: nn.Parameter) -> list[dict[str, object]]:
    return [
        {"params": [weight], "lr_factor": 1.0, "weight_decay": 0.0, "is_filter": True},
        {"params": [bias], "lr_factor": 1.0, "weight_decay": 0.01, "is_filter": False},
    ]


def test_everything_but_filters_moves_as_sgd_with_nesterov_does() -> None:
    weight, bias = nn.Parameter(random(4, 3, 3, 3)), nn.Parameter(random(4))
    other = nn.Parameter(bias.detach().clone())
    muon = Muon(groups(weight, bias), 0.1, momentum=0.85, filter_momentum=0.6, dtype=torch.float32)
    sgd = torch.optim.SGD([other], lr=0.1, momentum=0.85, nesterov=True, weight_decay=0.01)
    for number in range(5):
        bias.grad, other.grad = random(4, seed=number), random(4, seed=number)
        muon.step()
        sgd.step()
    torch.testing.assert_close(bias, other)


def test_a_filter_is_scaled_to_its_norm_and_moved_orthogonally_by_the_rate() -> None:
    weight, bias = nn.Parameter(random(4, 3, 3, 3)), nn.Parameter(random(4))
    scaled = weight.detach() * 2 / weight.detach().norm()  # sqrt(4) = 2
    muon = Muon(groups(weight, bias), 0.1, momentum=0.85, filter_momentum=0.6, dtype=torch.float32)
    weight.grad = random(4, 3, 3, 3, seed=1)
    muon.step()
    assert bias.grad is None  # and so it stayed
    step = (scaled - weight.detach()) / 0.1
    torch.testing.assert_close(step, orthogonal_filters([weight.grad], torch.float32)[0], atol=1e-5, rtol=1e-4)
    assert math.isclose(float(scaled.norm()), 2.0, rel_tol=1e-5)
