"""A trained model with its normalisation and class names, the one way to apply it: images in, probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from cifarlab.batches.preprocess import to_network_input
from cifarlab.console import count
from cifarlab.drawing.charts.description import Bar, BarChart
from cifarlab.drawing.charts.svg import to_svg
from cifarlab.drawing.notebook import cell, classes_text
from cifarlab.drawing.page import facts, headline
from cifarlab.drawing.wording import percent
from cifarlab.errors import CheckpointError, DataError, RecipeError
from cifarlab.images.decode import convert, decode, fit_pixels, read_file
from cifarlab.images.retold import retold
from cifarlab.inference import parallel
from cifarlab.inference.folding import fold
from cifarlab.inference.model_file import ModelCard, load_model, misfits
from cifarlab.kernels.accelerate import accelerate, choose_runtime
from cifarlab.language import listed, tr
from cifarlab.machine.runtime import Runtime
from cifarlab.models.registry import build_empty, build_untrained
from cifarlab.recipe.schema import RuntimeSpec
from cifarlab.runs.paths import MODEL_FILE

BATCH_SIZE = 500  # images per forward pass
LISTED = 10  # tensors that an error names before it only counts the rest

Picture = Path | str | Image.Image | NDArray[np.uint8]
"""A file, a Pillow image of any mode, or pixels uint8 (3, H, W)."""


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, most probable first; `label` and `probability` are those of the first.

    name is the file as it was given, or "image N" for the Nth image without a file, counted from 0.
    """

    name: str
    label: str
    probability: float
    top: tuple[tuple[str, float], ...]

    def __repr__(self) -> str:
        shares = ", ".join(f"{label!r} {percent(share)}" for label, share in self.top[:3])
        return f"Prediction({self.name!r}: {shares})"

    def _repr_html_(self) -> str:
        bars = [Bar(label, share) for label, share in self.top]
        chart = BarChart(tr("Most probable classes"), tr("probability"), bars, limits=(0, 1))
        return cell(tr("Prediction"), self.name, headline(self.label, percent(self.probability)), to_svg(chart))


class Classifier:
    """Applies a network as its card says, in evaluation mode on the runtime's device.

    One that was loaded predicts in fp32 through a private copy with its batch norms folded into the convolutions, and
    on a CPU with a share of the images for each core. `model` stays as it was trained, for reading its layers.
    """

    def __init__(self, model: nn.Module, card: ModelCard, runtime: Runtime, batch_size: int = BATCH_SIZE) -> None:
        self.model = model.to(runtime.device).to(memory_format=runtime.memory_format)
        self._folded = self.model  # `load` replaces it by a folded copy; a network in training has to stay as it is
        self._divides_images = False
        self.card = card
        self.runtime = runtime
        self.batch_size = batch_size
        self.mean = torch.tensor(card.mean, device=runtime.device)
        self.std = torch.tensor(card.std, device=runtime.device)

    def __repr__(self) -> str:
        card = self.card
        return (
            f"Classifier({card.architecture.name}, {len(card.class_names)} classes, trained by {card.recipe!r}, "
            f"on {self.runtime.device})"
        )

    def _repr_html_(self) -> str:
        card = self.card
        num_parameters = sum(weights.numel() for weights in self.model.parameters())
        return cell(
            tr("Classifier"),
            card.recipe,
            facts(
                [
                    (tr("Network"), listed([card.architecture.name, count(num_parameters, "parameter")])),
                    (tr("Classes"), classes_text(card.class_names)),
                    (tr("Images"), tr("{n} × {n} pixels, any picture is brought to that size", n=card.image_size)),
                    (tr("Runs on"), listed([str(self.runtime.device), self.runtime.precision])),
                ]
            ),
        )

    @classmethod
    def load(cls, path: str | PathLike[str], *, runtime: Runtime | None = None, batch_size: int = BATCH_SIZE) -> Self:
        """Load a model file, or the one in a run folder; without a runtime on the best device, in fp32.

        Raises CheckpointError if the file is missing or damaged, or if its weights do not fit its card.
        """
        file = Path(path)
        if file.is_dir():
            file = file / MODEL_FILE
        weights, card = load_model(file)
        return cls.from_weights(weights, card, origin=file, runtime=runtime, batch_size=batch_size)

    @classmethod
    def from_weights(
        cls,
        weights: dict[str, Tensor],
        card: ModelCard,
        *,
        origin: Path,
        runtime: Runtime | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Self:
        """Apply weights as their card says; `origin` names them in errors. Raises what `load` raises."""
        model = _network_of(card, weights, origin)
        model.load_state_dict(weights)
        runtime = runtime or inference_runtime()
        # Folded on the CPU: not every device has float64, in which folding rounds only once.
        folded = fold(model) if runtime.precision == "fp32" else model
        classifier = cls(model, card, runtime, batch_size)
        classifier._folded = folded.to(runtime.device).to(memory_format=runtime.memory_format)
        if folded is not model:  # fold returns the model itself where it has nothing to fold, and that stays plain
            accelerate(folded, runtime, trains=False)
        classifier._divides_images = parallel.possible(runtime.device, runtime.threads)
        return classifier

    @torch.inference_mode()
    def logits(self, pixels: NDArray[np.uint8] | Tensor) -> NDArray[np.float32]:
        """Map uint8 (N, 3, H, W) to logits, float32 (N, C), not divided by the temperature.

        In evaluation mode an image's logits do not depend on the others in its batch.
        """
        if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.dtype not in (np.uint8, torch.uint8):
            raise ValueError(f"need uint8 (N, 3, H, W), not {pixels.dtype} {tuple(pixels.shape)}")
        self._folded.eval()  # a caller may have set `model` to training mode
        batches = self.in_batches(self._batch, pixels)
        if not batches:
            return np.zeros((0, len(self.card.class_names)), np.float32)  # torch.cat takes no empty list
        return torch.cat(batches).cpu().numpy()

    def probabilities(self, pixels: NDArray[np.uint8] | Tensor) -> NDArray[np.float32]:
        """Map uint8 (N, 3, H, W) to float32 (N, C): the softmax of the logits divided by the card's temperature."""
        logits = torch.from_numpy(self.logits(pixels)) / self.card.temperature
        return torch.softmax(logits, dim=1).numpy()

    def predict(self, images: Sequence[Picture], *, top: int = 5) -> list[Prediction]:
        """Name the `top` most probable classes of each image, in order; raises DataError for one that is unreadable."""
        # Decoded one batch at a time, so that the memory does not grow with the number of files.
        found: list[Prediction] = []
        for start in range(0, len(images), self.batch_size):
            block = images[start : start + self.batch_size]
            names = [_name(image, start + number) for number, image in enumerate(block)]
            found += self.label(names, np.stack([self.decode(image) for image in block]), top)
        return found

    def decode(self, image: Picture) -> NDArray[np.uint8]:
        """Bring one image to the stored size of the training images, uint8 (3, S, S).

        Raises DataError, with the image's name, for one that is unreadable, ValueError for pixels of another form.
        """
        card = self.card
        size = card.image_size, card.image_size
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] != 3:
                raise ValueError(f"need pixels uint8 (3, H, W), not {image.dtype} {image.shape}")
            return fit_pixels(image, size, card.fit).copy()
        try:
            if isinstance(image, Image.Image):
                return convert(image, size, card.fit, card.white_level).pixels
            return decode(read_file(Path(image)), size, card.fit, card.white_level)
        except DataError as error:
            raise DataError(f"{_name(image, 0)}: {retold(str(error))}") from error

    def label(self, names: Sequence[str], pixels: NDArray[np.uint8], top: int) -> list[Prediction]:
        """Name the `top` most probable classes of uint8 (N, 3, H, W); among equals the earlier class comes first.

        Raises CheckpointError for a network whose output is not finite.
        """
        probabilities = self.probabilities(pixels)
        if not np.isfinite(probabilities).all():
            raise CheckpointError(
                tr("The network's output is not finite. Its training had diverged, or the file is damaged.")
            )
        # Stable, so that equal probabilities keep the order of the classes.
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        found = []
        for name, row, best in zip(names, probabilities, order, strict=True):
            ranked = tuple((self.card.class_names[i], float(row[i])) for i in best)
            found.append(Prediction(name, *ranked[0], ranked))
        return found

    @property
    def folded(self) -> nn.Module:
        """The network that predicts: the same function as `model`, with its norms folded away, and faster."""
        return self._folded

    def network_input(self, pixels: NDArray[np.uint8] | Tensor) -> Tensor:
        """Turn uint8 (N, 3, H, W) into the network's input: normalised float32 of the input size, on the device."""
        # A copy, since pixels may be a read-only memory map or a mirrored view, which torch does not take.
        block = pixels if isinstance(pixels, Tensor) else torch.from_numpy(np.array(pixels, order="C"))
        return to_network_input(
            block.to(self.runtime.device),
            self.mean,
            self.std,
            self.card.input_size,
            memory_format=self.runtime.memory_format,
        )

    @torch.inference_mode()
    def in_batches(
        self, apply: Callable[[NDArray[np.uint8] | Tensor], Tensor], pixels: NDArray[np.uint8] | Tensor
    ) -> list[Tensor]:
        """Apply a function to parts of (N, 3, H, W) as this device computes them fastest; results keep the order.

        On several cores each takes small parts of its own, instead of a share of every layer; see parallel.py.
        """
        size = min(self.batch_size, parallel.PART) if self._divides_images else self.batch_size
        parts = [pixels[start : start + size] for start in range(0, len(pixels), size)]
        with self.runtime.in_use():
            if self._divides_images and len(parts) > 1:
                return parallel.side_by_side(apply, parts, self.runtime.threads)
            return [apply(part) for part in parts]

    def _batch(self, pixels: NDArray[np.uint8] | Tensor) -> Tensor:
        images = self.network_input(pixels)
        with self.runtime.autocast():
            logits: Tensor = self._folded(images)
        return logits.float()  # under autocast they come in bf16 or fp16


def inference_runtime(device: str = "auto", *, kernels: bool = True) -> Runtime:
    """The runtime for a finished model: in fp32, so that predictions agree between devices, with torch's threads.

    CPU kernels are used if a training has compiled them; predicting never starts a compiler.
    """
    threads = torch.get_num_threads()
    spec = RuntimeSpec(device=device, precision="fp32", threads=threads, kernels="auto" if kernels else "off")
    return choose_runtime(spec, compiles=False)


def _network_of(card: ModelCard, weights: dict[str, Tensor], path: Path) -> nn.Module:
    """Build the network that a card names, which has to be a known one, if the weights fit it."""
    arguments = card.architecture, len(card.class_names), card.input_size
    try:
        # Ours are built on the meta device first, without memory: a card may ask for a width that fits no machine.
        # Those of other packages have fixed sizes, and may need real tensors while they are built.
        with torch.device("cpu" if ":" in card.architecture.name else "meta"):
            sketch = build_empty(*arguments)
        if problems := _misfits(sketch.state_dict(), weights, len(card.class_names)):
            shown = tr("; ").join(problems[:LISTED])
            if len(problems) > LISTED:
                shown = tr("{problems}; and {n} more", problems=shown, n=len(problems) - LISTED)
            raise CheckpointError(
                tr(
                    "{file} does not fit its card ({network}):\n{problems}.",
                    file=path,
                    network=card.architecture.name,
                    problems=shown,
                )
            )
        # with values, since a network may have tensors that no file holds
        return sketch if ":" in card.architecture.name else build_untrained(*arguments)
    except (RecipeError, RuntimeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            tr("{file} names a network that cannot be built.\n{reason}", file=path, reason=reason)
        ) from error


def _misfits(wanted: dict[str, Tensor], found: dict[str, Tensor], num_classes: int) -> list[str]:
    """Return a sentence for each tensor that does not fit; only one if it is just the number of classes."""
    # The head's tensors are those whose first dimension is the number of classes.
    problems = misfits(wanted, found)
    sizes = [
        (name, len(found[name]))
        for name, tensor in wanted.items()
        if name in found and tensor.shape[:1] == (num_classes,) and tensor.shape[1:] == found[name].shape[1:]
    ]
    others = [
        tr("{name} is made for {size} classes, the card names {n}", name=name, size=size, n=num_classes)
        for name, size in sizes
        if size != num_classes
    ]
    return others[:1] if others and len(others) == len(problems) else problems


def _name(image: Picture, number: int) -> str:
    return str(image) if isinstance(image, Path | str) else f"image {number}"
