"""Networks that cannot be built, and weights that do not fit, are explained in Chinese."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cifarlab.errors import CheckpointError, RecipeError
from cifarlab.language import speak
from cifarlab.models.registry import build_network
from cifarlab.recipe.schema import ModelSpec


@pytest.fixture(autouse=True)
def _chinese() -> Iterator[None]:
    speak("zh")
    yield
    speak("en")


def test_options_that_a_network_does_not_have() -> None:
    with pytest.raises(RecipeError) as caught:
        build_network(ModelSpec(name="simple-cnn", stem="cifar", width=2), 10, 2)
    assert str(caught.value) == (
        "无法构建模型 simple-cnn：model.stem = 'cifar' 无效。可用：default。 "
        "这个网络的宽度不能缩放，不能设置 model.width = 2.0。 2 像素的图像太小，至少需要 4 像素。"
    )


def test_a_package_that_is_not_known() -> None:
    with pytest.raises(RecipeError, match=r"^model\.name 中的包“keras”未知。已知：torchvision，timm。$"):
        build_network(ModelSpec(name="keras:resnet18"), 10)


def test_weights_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    model = build_network(ModelSpec(name="simple-cnn"), 10)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    first = next(iter(weights))
    shape = "×".join(map(str, weights[first].shape))
    save_file({name: value for name, value in weights.items() if name != first} | {"more": torch.tensor(1.0)}, path)
    with pytest.raises(CheckpointError) as caught:
        build_network(ModelSpec(name="simple-cnn", weights=str(path)), 10)
    assert str(caught.value).split("\n") == [
        f"{path} 与 SimpleCNN 不匹配，没有加载任何权重：",
        f"  {first}（应为：{shape}；实际：无）",
        "  more（应为：无；实际：标量）",
    ]
    with pytest.raises(CheckpointError, match=r"无法读取权重 .*\n需要 safetensors 文件。$"):
        build_network(ModelSpec(name="simple-cnn", weights=str(tmp_path / "absent")), 10)
