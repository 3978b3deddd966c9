from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from cifarlab.inference.parallel import possible, side_by_side


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_parts_come_back_in_order_from_threads_of_one_core() -> None:
    def apply(part: int) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        return torch.tensor([part, torch.get_num_threads()])

    found = side_by_side(apply, range(40), 2)
    assert [each.tolist() for each in found] == [[part, 1] for part in range(40)]
    assert torch.get_num_threads() == 2


def test_an_error_is_passed_on_and_the_number_of_threads_is_as_before() -> None:
    def fail(part: int) -> torch.Tensor:
        raise RuntimeError(f"part {part}")

    with pytest.raises(RuntimeError, match="part 0"):
        side_by_side(fail, range(3), 2)
    assert torch.get_num_threads() == 2


def test_one_core_or_another_device_is_not_divided() -> None:
    assert not possible(torch.device("cpu"), 1)
    assert not possible(torch.device("cuda"), 2)
