"""The comparison of kernels that were just compiled with torch."""

from __future__ import annotations

import pytest
import torch

from cifarlab.errors import NoKernelsError
from cifarlab.kernels import build
from cifarlab.kernels.check import check

pytestmark = pytest.mark.usefixtures("kernels")


def test_right_kernels_pass_whatever_the_gradients_and_the_seed_are() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with torch.no_grad():
        check()
    assert torch.rand(3).equal(expected)  # the process's random numbers go on as without a check


def test_another_default_type_of_numbers_changes_nothing() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        check()
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("kernel", "place", "names"),
    [
        ("winograd_by_float", -2, ["a convolution in float", "the images' gradient in float"]),
        ("winograd_weight_gradient_float", -1, ["the filters' gradient in float"]),
        ("rectified_float", 7, ["a norm with ReLU in float"]),
        ("affine_gradient_float", -1, ["the gradient of a norm with ReLU in float"]),
        ("gelu_of_affine_float", -1, ["a norm with GELU in float"]),
        ("norm_gradient_float", -1, ["the gradient of a norm with GELU in float"]),
        ("rectified_bf16", 7, ["a norm with ReLU in bf16"]),
    ],
)
@pytest.mark.parametrize("wrong", [1.0, float("nan")])
def test_a_kernel_that_is_wrong_in_one_value_is_named(monkeypatch, kernel, place, names, wrong) -> None:
    call = build.call

    def spoiled(name: str, *arguments: torch.Tensor) -> None:
        call(name, *arguments)
        if name == kernel:
            first = (0,) * arguments[place].dim()
            # Twice as large as the largest one, as a value from foreign memory may be; or a number that is none.
            arguments[place][first] = 2 * wrong * arguments[place].abs().max()

    monkeypatch.setattr(build, "call", spoiled)
    with pytest.raises(NoKernelsError, match="compute wrong values on this CPU") as caught:
        check()
    assert all(name in str(caught.value) for name in names)
    assert "Please report this" in str(caught.value)
