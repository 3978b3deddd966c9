"""Networks of torchvision and timm, with a head for our classes: torchvision:<name> and timm:<name>."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from cifarlab.errors import MachineError, MissingExtraError, RecipeError
from cifarlab.models.finetune import head
from cifarlab.models.taps import probe
from cifarlab.recipe.schema import ModelSpec


def build(spec: ModelSpec, num_classes: int, image_size: int) -> nn.Module:
    """Build a network that another package defines, with its published weights when spec.pretrained.

    Stem "cifar" puts a 3×3 convolution with stride 1 in the place of the first convolution and max pool of a
    ResNet; that layer then starts from random weights. Raises RecipeError for an unknown name or an option
    the network does not have, MissingExtraError without the package, MachineError when weights cannot be
    fetched.
    """
    package, _, name = spec.name.partition(":")
    if package not in PACKAGES:
        raise RecipeError(f"Unknown package {package!r} in model.name. Known: {', '.join(PACKAGES)}.")
    if spec.width != 1:
        raise RecipeError(f"model.width = {spec.width} is not for {spec.name}, whose widths are fixed.")
    model = PACKAGES[package](name, num_classes, image_size, spec.pretrained)
    if spec.stem == "cifar":
        _use_cifar_stem(model, spec.name)
    _check_output(model, spec.name, num_classes, image_size)
    return model


def _torchvision(name: str, num_classes: int, image_size: int, pretrained: bool) -> nn.Module:
    try:
        import torchvision
    except ImportError as error:
        raise MissingExtraError("torchvision", "vision") from error
    models = torchvision.models
    _check_name("torchvision", name, models.list_models(module=models))
    # The auxiliary classifiers of these two would make training return a tuple.
    options: dict[str, object] = {"aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    if not pretrained:
        options |= {"init_weights": False} if options else {}
        options |= {"image_size": image_size} if name.startswith("vit_") else {}
        with _impossible_options(f"torchvision:{name}", image_size):
            return models.get_model(name, num_classes=num_classes, **options)  # type: ignore[no-any-return]
    with _fetching(f"torchvision:{name}"):
        model: nn.Module = models.get_model(name, weights="DEFAULT", **options)
    _replace_head(model, num_classes)
    return model


def _timm(name: str, num_classes: int, image_size: int, pretrained: bool) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", "vision") from error
    if not timm.is_model(name):  # a name may carry a tag of the weights: resnet18.a1_in1k
        _check_name("timm", name, timm.list_models())
    if pretrained:
        with _fetching(f"timm:{name}"):
            model: nn.Module = timm.create_model(name, pretrained=True, num_classes=num_classes)
    else:
        model = timm.create_model(name, num_classes=num_classes)
    resize = getattr(model, "set_input_size", None)  # transformers; their position embeddings are interpolated
    if callable(resize):
        with _impossible_options(f"timm:{name}", image_size):
            resize(img_size=image_size)
    return model


PACKAGES = {"torchvision": _torchvision, "timm": _timm}


def _check_name(package: str, name: str, known: Collection[str]) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"{package} lists its {len(known)} networks."
    raise RecipeError(f"Unknown {package} network {name!r}. {hint}")


def _replace_head(model: nn.Module, num_classes: int) -> None:
    """Put a new last layer in the place of the one for other classes."""
    old = head(model)
    path = next(name for name, module in model.named_modules() if module is old)
    new: nn.Module
    if isinstance(old, nn.Conv2d):
        new = nn.Conv2d(old.in_channels, num_classes, 1)
    else:
        assert isinstance(old, nn.Linear)
        new = nn.Linear(old.in_features, num_classes)
    model.set_submodule(path, new)


def _use_cifar_stem(model: nn.Module, name: str) -> None:
    first, pool = getattr(model, "conv1", None), getattr(model, "maxpool", None)
    if not isinstance(first, nn.Conv2d) or not isinstance(pool, nn.Module):
        raise RecipeError(f"model.stem = 'cifar' needs a ResNet, which begins with conv1 and maxpool; {name} does not.")
    conv = nn.Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    model.set_submodule("conv1", conv)
    model.set_submodule("maxpool", nn.Identity())


def _check_output(model: nn.Module, name: str, num_classes: int, image_size: int) -> None:
    with _impossible_options(name, image_size):
        output = probe(model, image_size)
    if not isinstance(output, Tensor) or output.shape != (1, num_classes):
        raise RecipeError(f"{name} does not put out one logit per class, so it is no classifier of images.")


@contextmanager
def _impossible_options(name: str, image_size: int) -> Iterator[None]:
    """The packages have no error of their own for a size that a network cannot take."""
    try:
        yield
    except Exception as error:
        raise RecipeError(
            f"{name} cannot take images of {image_size} px: {_first_line(error)}.\nTry another data.image_size."
        ) from error


@contextmanager
def _fetching(name: str) -> Iterator[None]:
    """Whatever the network, the hub or a damaged file raises, the way out is the same."""
    try:
        yield
    except Exception as error:
        raise MachineError(
            f"Cannot fetch the pretrained weights of {name}: {type(error).__name__}: {_first_line(error)}.\n"
            "Without a network, set model.pretrained = false and model.weights = a local safetensors file."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
