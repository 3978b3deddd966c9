"""Batches as a function of seed and step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cifarlab.batches.loader import Loader
from cifarlab.errors import DataError
from cifarlab.images.images import Images

CPU = torch.device("cpu")


def numbered(count: int) -> Images:
    """Images whose pixels and labels tell which one they are."""
    pixels = np.zeros((count, 3, 2, 2), np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None, None]
    return Images(pixels, np.arange(count, dtype=np.int64), tuple(map(str, range(count))))


@given(count=st.integers(2, 97), batch_size=st.integers(1, 120), keep_last=st.booleans())
def test_t27_each_image_at_most_once_per_epoch_and_no_batch_of_one_is_left_over(count, batch_size, keep_last):
    loader = Loader(numbered(count), CPU, batch_size, keep_last=keep_last)
    sizes, seen = [], []
    for step in range(len(loader)):
        batch = loader.batch(step)
        sizes.append(len(batch.labels))
        seen += batch.indices.tolist()
    full, rest = divmod(count, min(batch_size, count))
    assert len(set(seen)) == len(seen)
    assert len(seen) == count - (0 if keep_last and rest != 1 else rest)
    assert sizes == [min(batch_size, count)] * full + ([rest] if keep_last and rest > 1 else [])


def test_pixels_labels_and_indices_belong_together():
    batch = Loader(numbered(10), CPU, 4).batch(1)
    assert batch.labels.tolist() == batch.indices.tolist() == batch.pixels[:, 0, 0, 0].tolist()


def test_a_step_gets_the_same_batch_wherever_training_starts():
    straight, jumped = Loader(numbered(20), CPU, 3, seed=5), Loader(numbered(20), CPU, 3, seed=5)
    batches = [straight.batch(step).indices.tolist() for step in range(21)]
    assert [jumped.batch(step).indices.tolist() for step in reversed(range(21))] == batches[::-1]


def test_epochs_and_seeds_differ():
    orders = [
        tuple(Loader(numbered(50), CPU, 50, seed=seed).order(epoch).tolist()) for seed in (0, 1) for epoch in (0, 1)
    ]
    assert len(set(orders)) == 4
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_pixels_on_the_cpu_are_shared_and_not_copied():
    images = numbered(5)
    loader = Loader(images, CPU, 5)
    images.pixels[3] = 77
    assert (loader.pixels[3] == 77).all()


def test_read_only_pixels_are_copied():
    images = numbered(5)
    images.pixels.flags.writeable = False
    assert torch.equal(Loader(images, CPU, 5).pixels, torch.from_numpy(images.pixels.copy()))


def test_one_image_is_refused():
    with pytest.raises(DataError, match="at least two"):
        Loader(numbered(1), CPU, 4)


@given(count=st.integers(4, 60), batch_size=st.integers(1, 20), share=st.floats(0.1, 1), keep_last=st.booleans())
def test_drawn_images_fill_an_epoch_without_one_twice_in_a_batch(count, batch_size, share, keep_last):
    loader = Loader(numbered(count), CPU, batch_size, keep_last=keep_last)
    drawn = torch.arange(count)[-max(loader.batch_size, int(share * count)) :]
    loader.draw_only(drawn)
    epoch = [loader.batch(step).indices.tolist() for step in range(len(loader))]
    assert all(len(set(batch)) == len(batch) == loader.batch_size for batch in epoch)
    assert {index for batch in epoch for index in batch} <= set(drawn.tolist())
    again = Loader(numbered(count), CPU, batch_size, keep_last=keep_last)
    again.draw_only(drawn.clone())
    assert [again.batch(step).indices.tolist() for step in range(len(again))] == epoch


def test_all_drawn_images_are_drawn_equally_often():
    loader = Loader(numbered(40), CPU, 5)
    loader.draw_only(torch.arange(20))
    assert sorted(loader.order(3).tolist()) == sorted([*range(20), *range(20)])


def test_a_batch_knows_how_often_its_images_came_before():
    loader = Loader(numbered(40), CPU, 5)
    assert [loader.batch(step).pass_number for step in (0, 7, 8, 15, 16)] == [0, 0, 1, 1, 2]
    loader.draw_only(torch.arange(20))  # twice in an epoch of eight steps
    assert [loader.batch(step).pass_number for step in (16, 19, 20, 23, 24)] == [4, 4, 5, 5, 6]
    for first, second in ((16, 20), (24, 28)):
        indices = torch.cat([loader.batch(step).indices for step in range(first, second)])
        assert sorted(indices.tolist()) == list(range(20))


def test_fewer_drawn_images_than_a_batch_are_refused():
    with pytest.raises(ValueError, match="a batch needs 4 images, not 3"):
        Loader(numbered(10), CPU, 4).draw_only(torch.arange(3))
