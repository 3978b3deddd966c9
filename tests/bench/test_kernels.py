"""Which ways take turns and how their ratio is computed; times are made up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cifarlab.bench import kernels as kernels_module
from cifarlab.bench.kernels import COMPILED, KERNELS, TORCH, KernelTable, KernelTiming, kernels
from cifarlab.bench.timing import Timing
from cifarlab.cli.tables import print_kernels
from cifarlab.machine.tier import tier

RECIPE = """
name = "small"
model = {name = "speednet", width = 0.5}
training = {batch_size = 8}
runtime = {threads = 1, tensorboard = false}
"""


def two_seconds(action: Callable[[], object], *, rounds: int, warmup: int, **_: Any) -> Timing:
    """Do everything, and say that each round took two seconds."""
    for _ in range(rounds + warmup):
        action()
    return Timing((2.0,) * rounds, "s", warmup)


def timing(*values: float) -> Timing:
    return Timing(values, "images/s")


@pytest.mark.usefixtures("kernels")
def test_each_way_trains_and_predicts_in_every_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_module, "measure", two_seconds)
    (tmp_path / "small.toml").write_text(RECIPE, "utf-8")
    found = kernels([str(tmp_path / "small.toml")], pairs=3, steps=2, compiled=False)
    expected = {(mode, images) for mode in ("training", "prediction") for images in ("noise", "photographs")}
    assert {(row.mode, row.images) for row in found.rows} == expected
    for row in found.rows:
        # two steps of eight images in two seconds
        assert row.timings == {name: Timing((8.0,) * 3, "images/s", 1) for name in (KERNELS, TORCH)}
        assert row.ratio == (1.0, (1.0, 1.0))
    assert found.tier == tier() and found.used["prediction"] == ["convolutions", "norms"]
    assert found.to_dict()["rows"][0]["against"] == TORCH


def test_the_ratio_is_that_to_the_fastest_of_torch() -> None:
    timings = {KERNELS: timing(40, 60), TORCH: timing(10, 20), COMPILED: timing(20, 30)}
    row = KernelTiming("speed", "training", "noise", "bf16", timings)
    ratio, (low, high) = row.ratio
    assert row.fastest_torch == COMPILED
    assert ratio == pytest.approx(2) and low == pytest.approx(2) and high == pytest.approx(2)


def test_people_get_a_line_per_network_and_what_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    rows = (KernelTiming("speed", "training", "noise", "bf16", {KERNELS: timing(40, 60), TORCH: timing(10, 20)}),)
    about = {
        "device_name": "a CPU",
        "device": "cpu",
        "precision": "fp32",
        "memory_format": "channels_last",
        "compile": False,
    }
    versions = {"threads": 2, "cifarlab": "0.1", "torch": "2", "onednn": "3.13", "python": "3"}
    print_kernels(KernelTable(rows, "avx2", {"prediction": []}, about | versions))
    printed = capsys.readouterr().out
    assert "training, bf16, noise" in printed and "3.46 (" in printed  # √(40 / 10 · 60 / 20)
    assert "2 pairs" in printed and "avx2: prediction: none" in printed and "torch 2 with oneDNN 3.13," in printed
