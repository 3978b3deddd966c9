"""Networks of torchvision and timm with a head for our classes, named torchvision:<name> and timm:<name>."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from cifarlab.errors import MachineError, MissingExtraError, RecipeError
from cifarlab.language import listed, tr
from cifarlab.models.finetune import head
from cifarlab.models.taps import probe
from cifarlab.recipe.schema import ModelSpec


def build(spec: ModelSpec, num_classes: int, image_size: int) -> nn.Module:
    """Build a network that another package defines, with its published weights if spec.pretrained.

    The stem "cifar" replaces the first convolution and max pool of a ResNet by a 3×3 convolution with stride 1, which
    starts from random weights. Raises RecipeError for an unknown name or an option that the network does not have,
    MissingExtraError if the package is not installed, MachineError if weights cannot be downloaded.
    """
    package, _, name = spec.name.partition(":")
    if package not in PACKAGES:
        message = tr("Unknown package {name!r} in model.name. Known: {names}.")
        raise RecipeError(message.format(name=package, names=listed(PACKAGES)))
    if spec.width != 1:
        message = tr("model.width = {width} is not for {name}, whose widths are fixed.")
        raise RecipeError(message.format(width=spec.width, name=spec.name))
    model = PACKAGES[package](name, num_classes, image_size, spec.pretrained)
    if spec.stem == "cifar":
        _use_cifar_stem(model, spec.name)
    # One forward pass finds what no name says: a size the network cannot take, a detector, a tuple of outputs.
    with _impossible_options(spec.name, image_size):
        output = probe(model, image_size)
    if not isinstance(output, Tensor) or output.shape != (1, num_classes):
        message = tr("{name} does not put out one logit per class, so it is no classifier of images.")
        raise RecipeError(message.format(name=spec.name))
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
        # For these two: their own initialisation is slow, and torchvision warns where the choice is left open.
        options |= {"init_weights": False} if options else {}
        options |= {"image_size": image_size} if name.startswith("vit_") else {}
        with _impossible_options(f"torchvision:{name}", image_size):
            return models.get_model(name, num_classes=num_classes, **options)  # type: ignore[no-any-return]
    # The published weights come with the head for ImageNet, so the network is built with it and gets ours afterwards.
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
    # The packages list a hundred names and more, too many to print.
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    message = (
        tr("Unknown {package} network {name!r}. Did you mean {names}?")
        if near
        else tr("Unknown {package} network {name!r}. {package} lists its {n} networks.")
    )
    raise RecipeError(message.format(package=package, name=name, names=tr(" or ").join(near), n=len(known)))


def _replace_head(model: nn.Module, num_classes: int) -> None:
    """Replace the last layer by a new one for `num_classes`."""
    old = head(model)
    path = next(name for name, module in model.named_modules() if module is old)
    new: nn.Module
    if isinstance(old, nn.Conv2d):  # SqueezeNet's head is a 1×1 convolution
        new = nn.Conv2d(old.in_channels, num_classes, 1)
    else:
        assert isinstance(old, nn.Linear)
        new = nn.Linear(old.in_features, num_classes)
    model.set_submodule(path, new)


def _use_cifar_stem(model: nn.Module, name: str) -> None:
    first, pool = getattr(model, "conv1", None), getattr(model, "maxpool", None)
    if not isinstance(first, nn.Conv2d) or not isinstance(pool, nn.Module):
        message = tr("model.stem = 'cifar' needs a ResNet, which begins with conv1 and maxpool; {name} does not.")
        raise RecipeError(message.format(name=name))
    # Pretrained 7×7 filters do not fit, so this layer starts from He's normal distribution, as in resnet.py.
    conv = nn.Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    model.set_submodule("conv1", conv)
    model.set_submodule("maxpool", nn.Identity())


@contextmanager
def _impossible_options(name: str, image_size: int) -> Iterator[None]:
    """Turn whatever a network raises for a size that it cannot take into a RecipeError."""
    try:
        yield
    except (
        Exception
    ) as error:  # the packages have no error of their own for this: assertions, ValueErrors, RuntimeErrors
        raise RecipeError(
            tr(
                "{name} cannot take images of {size} px: {reason}.\nTry another data.image_size.",
                name=name,
                size=image_size,
                reason=_first_line(error),
            )
        ) from error


@contextmanager
def _fetching(name: str) -> Iterator[None]:
    """Turn whatever a download raises into a MachineError."""
    try:
        yield
    except Exception as error:  # from the network, the hub or a damaged file; the way out is the same
        raise MachineError(
            tr(
                "Cannot fetch the pretrained weights of {name}: {reason}.\n"
                "Without a network, set model.pretrained = false and model.weights = a local safetensors file.",
                name=name,
                reason=f"{type(error).__name__}: {_first_line(error)}",
            )
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
