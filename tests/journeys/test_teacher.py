"""A teacher of a Chinese class: terminal, errors and report speak Chinese, and classes with Chinese names are drawn."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from terminal import screen_after

TRAIN = ["train", "quick", "--data=照片", "--epochs=2", "--threads=1", "--device=cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures of 猫 and 狗, and a run that was trained on a machine that is set to Chinese."""
    home = tmp_path_factory.mktemp("teacher")
    rng = np.random.default_rng(0)
    for number in range(60):
        path = home / "照片" / ("猫", "狗")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 100, (32, 32, 3)) + 120 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "LC_ALL", "zh_CN.UTF-8")
        patch.setitem(os.environ, "PYTHONUTF8", "1")
        screen = screen_after(TRAIN, 80, home)
    (home / "screen").write_text("\n".join(screen), "utf-8")
    return home


def test_the_terminal_speaks_chinese(folder: Path) -> None:
    text = (folder / "screen").read_text("utf-8")
    lines = text.split("\n")
    assert lines[:2] == ["quick: speednet，2 轮，种子 0", "数据     照片，2 个类别，照片"]
    assert lines[2].startswith("划分     训练 43 张；验证 5 张，从训练集中留出；测试集（由 cifarlab")
    for words in ("轮次 2/2  损失 ", "最好的验证准确率", "各类别的测试准确率，95 % 置信区间", "\n报告：file:///"):
        assert words in text
    for english in ("epoch", "accuracy", "images/s", "interval", "Next", "fewer", "copies"):
        assert english not in text


def test_a_mistake_is_explained_in_chinese(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    monkeypatch.setenv("PYTHONUTF8", "1")
    lines = screen_after(["train", "quik", "--data=照片"], 80, folder, exit_code=2)
    assert lines[0].startswith("错误：") and "quick" in lines[0] and "Unknown" not in lines[0]


def test_the_report_is_chinese(folder: Path) -> None:
    page = (folder / "runs/quick/report.html").read_text("utf-8")
    assert '<html lang="zh-CN">' in page
    for heading in ("结果", "数据质量", "学习曲线", "混淆矩阵"):
        assert f">{heading}</h2>" in page


def test_class_names_are_those_of_the_folders(folder: Path) -> None:
    page = (folder / "runs/quick/report.html").read_text("utf-8")
    assert "猫" in page and "狗" in page
