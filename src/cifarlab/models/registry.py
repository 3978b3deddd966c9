"""The networks that recipes can name.

To add one of your own, write a function and an entry:

    >>> from torch import nn
    >>> from cifarlab.models.registry import MODELS, build_network
    >>> from cifarlab.models.model import Model
    >>> from cifarlab.recipe.schema import ModelSpec

    >>> def tiny(spec, num_classes, image_size):
    ...     return nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size**2, num_classes))

    >>> MODELS["tiny"] = Model(build=tiny, source="mine")
    >>> build_network(ModelSpec(name="tiny"), num_classes=10)[1]
    Linear(in_features=3072, out_features=10, bias=True)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cifarlab.errors import RecipeError, unknown
from cifarlab.language import translatable
from cifarlab.models import bridges
from cifarlab.models.basic_cnn import BasicCNN
from cifarlab.models.finetune import load_backbone_weights
from cifarlab.models.googlenet import GoogLeNet, default_stem
from cifarlab.models.inception import InceptionBasic
from cifarlab.models.model import InitialisedFromImages, Model
from cifarlab.models.residual import ResidualBasic
from cifarlab.models.resnet import resnet
from cifarlab.models.simple_cnn import SimpleCNN
from cifarlab.models.speednet import SpeedNet
from cifarlab.recipe.schema import ModelSpec

STEMS = ("cifar", "imagenet")

# A literal dict: besides the networks of torchvision and timm, a recipe or a model file can name nothing but these. The
# builders take (spec, num_classes, image_size); min_size is the smallest side that leaves a pixel behind the last pool.

MODELS: dict[str, Model] = {
    "basic-cnn": Model(
        lambda spec, num_classes, size: BasicCNN(num_classes, size),
        source=translatable("LeNet-5 with ReLU"),
        min_size=20,
    ),
    "simple-cnn": Model(
        lambda spec, num_classes, size: SimpleCNN(num_classes, size), source=translatable("tutorials"), min_size=4
    ),
    "simple-cnn-bn": Model(
        lambda spec, num_classes, size: SimpleCNN(num_classes, size, batch_norm=True),
        source=translatable("tutorials; Ioffe and Szegedy, 2015"),
        min_size=4,
    ),
    "inception-basic": Model(
        lambda spec, num_classes, size: InceptionBasic(num_classes, size),
        source=translatable("Szegedy et al., 2014 and 2015"),
        min_size=12,
    ),
    "residual-basic": Model(
        lambda spec, num_classes, size: ResidualBasic(num_classes, size),
        source="He et al., 2015",
        min_size=12,
    ),
    # No min_size for this and the ResNets: the mean over the last maps takes a single pixel.
    "googlenet": Model(
        lambda spec, num_classes, size: GoogLeNet(
            num_classes, default_stem(size) if spec.stem == "default" else spec.stem
        ),
        source="Szegedy et al., 2014",
        stems=STEMS,
    ),
    "resnet18": Model(resnet(18), source="He et al., 2015", stems=STEMS, scalable=True),
    "resnet34": Model(resnet(34), source="He et al., 2015", stems=STEMS, scalable=True),
    "resnet50": Model(resnet(50), source="He et al., 2015", stems=STEMS, scalable=True),
    "resnet101": Model(resnet(101), source="He et al., 2015", stems=STEMS, scalable=True),
    "resnet152": Model(resnet(152), source="He et al., 2015", stems=STEMS, scalable=True),
    "speednet": Model(
        lambda spec, num_classes, size: SpeedNet(num_classes, spec.width),
        source=translatable("after Page, 2018 and Jordan, 2024"),
        scalable=True,
        min_size=9,
    ),
    "speednet-plus": Model(
        lambda spec, num_classes, size: SpeedNet(num_classes, spec.width, plus=True),
        source=translatable("after Jordan, 2024 (airbench96)"),
        scalable=True,
        min_size=9,
    ),
}


def build_network(spec: ModelSpec, num_classes: int, image_size: int = 32) -> nn.Module:
    """Build a network with its initial weights: normalised float (N, 3, image_size, image_size) to logits.

    The weights come from spec.weights or, with spec.pretrained, from the package that defines the network; otherwise
    they are random and depend on torch.manual_seed. Raises RecipeError for an unknown name or an option that the
    network does not have, CheckpointError for weights that do not fit, and what `bridges.build` raises.
    """
    if ":" in spec.name:  # torchvision:<name> or timm:<name>
        model = bridges.build(spec, num_classes, image_size)
    elif spec.name not in MODELS:
        raise RecipeError(f"{unknown('model', spec.name, MODELS)}\nAlso: torchvision:<name> and timm:<name>.")
    else:
        entry = MODELS[spec.name]
        problems = entry.problems(spec, image_size)
        if problems:
            raise RecipeError(f"The model {spec.name} cannot be built: {' '.join(problems)}")
        model = entry.build(spec, num_classes, image_size)
    if spec.weights is not None:
        load_backbone_weights(model, Path(spec.weights))
    return model


def build_untrained(spec: ModelSpec, num_classes: int, image_size: int = 32) -> nn.Module:
    """Build the same network with random weights, without reading or downloading any."""
    return build_network(spec.model_copy(update={"pretrained": False, "weights": None}), num_classes, image_size)


def build_empty(spec: ModelSpec, num_classes: int, image_size: int = 32) -> nn.Module:
    """Build the same network without values, for a caller that wants its shapes alone: on the meta device."""
    if ":" in spec.name:  # other packages may look at the values while they build
        return build_untrained(spec, num_classes, image_size)
    with _WithoutValues():
        return build_untrained(spec, num_classes, image_size)


class _WithoutValues(TorchFunctionMode):
    """Draws no first weights: on the meta device they would make torch load its compiler: 1.5 s on two Zen 4 cores."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Skip what works in place, as all functions do that give a new tensor its values."""
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__") and name != "requires_grad_":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def initialise(model: nn.Module, images: Tensor) -> None:
    """Let a network set weights from normalised float training images (N, 3, H, W), if it has any to set so.

    Not for a network whose weights were loaded: they would be overwritten.
    """
    if isinstance(model, InitialisedFromImages):
        model.initialise_from(images)
