"""Model files that can be trusted: weights and everything needed to apply them, hashed and verified, without pickle.

A model file is one safetensors file whose metadata hold a ModelCard and a SHA-256 hash over card and tensors.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

import safetensors.torch
import torch
from pydantic import AfterValidator, Field, ValidationError
from torch import Tensor

from cifarlab.errors import CheckpointError, cause
from cifarlab.files import write_atomic
from cifarlab.language import listed, tr
from cifarlab.recipe.schema import NAME, WHITE_LEVEL, Fit, ModelSpec, Side, WhiteLevel
from cifarlab.recipe.section import Fraction, Section, first_problem
from cifarlab.version import VERSION

MODEL_FORMAT = 1  # a file with another number is refused
HEADER_LIMIT = 2**20  # bytes of a safetensors header; ours have a few tens of thousands

Means = Annotated[tuple[Fraction, Fraction, Fraction], Field(strict=False)]
Deviation = Annotated[float, Field(gt=0, le=1)]
Deviations = Annotated[tuple[Deviation, Deviation, Deviation], Field(strict=False)]
ClassName = Annotated[str, Field(min_length=1)]


def _check_unique(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(tr("a name stands for two classes"))
    return names


class ModelCard(Section):
    """What must be known to apply a network's weights. A file that lacks a field without a default here is refused."""

    architecture: ModelSpec
    class_names: Annotated[tuple[ClassName, ...], Field(strict=False, min_length=1), AfterValidator(_check_unique)]
    mean: Means
    """Mean per channel, of pixels divided by 255; `std` likewise."""
    std: Deviations
    image_size: Side
    """Side in pixels to which a picture is resized first: the stored size of the training images."""
    fit: Fit = "crop"
    """How a picture that is not square becomes square; files written before there was a choice were cropped."""
    white_level: WhiteLevel = WHITE_LEVEL
    """The value of white in 16-bit greyscale; files written before there was a choice have the highest."""
    input_size: Side
    """Side in pixels of the network's input."""
    temperature: Annotated[float, Field(ge=0.01, le=100)]
    """Divides the logits before the softmax."""
    recipe: Annotated[str, Field(pattern=NAME)]
    """Name of the recipe that was trained."""
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Fingerprint of the training images."""
    original: bool | None
    """Whether it was trained on the published pixels; None if that is unknown."""
    version: Annotated[str, Field(max_length=40)]
    """The version of cifarlab that wrote the file."""


def untrained_card(
    architecture: ModelSpec,
    class_names: tuple[str, ...],
    side: int,
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
    std: tuple[float, float, float] = (0.25, 0.25, 0.25),
) -> ModelCard:
    """Return a card for a network with initial weights: it has seen no images, so their fingerprint is all zeros."""
    return ModelCard(
        architecture=architecture,
        class_names=class_names,
        mean=mean,
        std=std,
        image_size=side,
        fit="crop",
        white_level=WHITE_LEVEL,
        input_size=side,
        temperature=1.0,
        recipe="untrained",
        fingerprint="0" * 64,
        original=None,
        version=VERSION,
    )


def save_model(path: Path, weights: dict[str, Tensor], card: ModelCard) -> None:
    """Write a network's weights with everything needed to apply them, as one safetensors file.

    Equal weights and cards give equal files, byte for byte. Raises CheckpointError if card and names are too long.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    content, text = safetensors.torch.save(tensors), card.model_dump_json()
    digest = _digest(text, _tensor_bytes(content, path))
    metadata = {"format": f"cifarlab-model-{MODEL_FORMAT}", "card": text, "sha256": digest}
    write_atomic(path, _with_metadata(content, metadata, path))


def load_model(path: Path) -> tuple[dict[str, Tensor], ModelCard]:
    """Read a model file: weights by name, and their card.

    Raises CheckpointError if it is missing, truncated, altered, from a newer cifarlab or not a model file at all.
    """
    try:
        content = path.read_bytes()  # read once, so that the bytes that are parsed are those that were hashed
    except OSError as error:
        raise CheckpointError(
            tr("Cannot read the model file {file}: {reason}.", file=path, reason=cause(error))
        ) from error
    metadata = _metadata(content, path)
    card = _parse_card(metadata, path)
    if _digest(metadata["card"], _tensor_bytes(content, path)) != metadata["sha256"]:
        raise CheckpointError(
            tr("{file} was altered or damaged: the hash of its weights and card does not match.", file=path)
        )
    weights = tensors_of(content, path)
    # The hash may be right for weights that were broken when they were saved.
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise CheckpointError(tr("{file} holds NaN or infinity in {names}.", file=path, names=listed(broken[:5])))
    return weights, card


def misfits(wanted: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """Return a sentence for each tensor that is missing, unknown, or of another shape or dtype than in `wanted`."""
    return [
        *(
            tr("{name} is {found} instead of {wanted}", name=name, found=_form(found[name]), wanted=_form(tensor))
            for name, tensor in wanted.items()
            if name in found and _form(tensor) != _form(found[name])
        ),
        *(tr("{name} is missing", name=name) for name in wanted if name not in found),
        *(tr("{name} is unknown", name=name) for name in found if name not in wanted),
    ]


def _form(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"


def _with_metadata(content: bytes, metadata: dict[str, str], path: Path) -> bytes:
    """Add metadata to the bytes of a safetensors file."""
    # Not by the library, which keeps metadata in a hash table: their order, and the file, would differ in each process.
    # The format is an 8-byte little-endian size, a JSON header of that size, then the tensors.
    start = 8 + _header_size(content, path)
    header = json.dumps({"__metadata__": metadata, **json.loads(content[8:start])}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the tensors have to begin at a multiple of 8
    if len(header) > HEADER_LIMIT:
        raise CheckpointError(
            tr("{file} is not written: its class names and layers take {n:,} bytes.", file=path, n=len(header))
        )
    return len(header).to_bytes(8, "little") + header + content[start:]


def _header_size(content: bytes, path: Path) -> int:
    size = int.from_bytes(content[:8], "little")  # up to 2**64 - 1 in a hostile file, hence the limit
    if len(content) < 8 or size > min(HEADER_LIMIT, len(content) - 8):
        raise CheckpointError(
            tr("{file} is not a model file of cifarlab, or only a part of one ({n} bytes).", file=path, n=len(content))
        )
    return size


def _tensor_bytes(content: bytes, path: Path) -> memoryview:
    return memoryview(content)[8 + _header_size(content, path) :]


def _metadata(content: bytes, path: Path) -> dict[str, str]:
    try:
        header = json.loads(content[8 : 8 + _header_size(content, path)])
        metadata = header["__metadata__"]
        return {key: str(metadata[key]) for key in ("format", "card", "sha256")}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(tr("{file} is not a model file of cifarlab: it has no card.", file=path)) from error


def _digest(card: str, tensors: memoryview) -> str:
    """Hash the card and the tensors together, so that neither can be changed or exchanged unnoticed."""
    digest = hashlib.sha256(card.encode())
    digest.update(tensors)
    return digest.hexdigest()


def _parse_card(metadata: dict[str, str], path: Path) -> ModelCard:
    version = metadata["format"].removeprefix("cifarlab-model-")
    if version != str(MODEL_FORMAT):
        raise CheckpointError(
            tr(
                "{file} has model format {version}; this cifarlab reads {known}. Upgrade it.",
                file=path,
                version=version,
                known=MODEL_FORMAT,
            )
        )
    try:
        return ModelCard.model_validate_json(metadata["card"])
    except ValidationError as error:
        problem = first_problem(error)
        raise CheckpointError(
            tr("{file} has a card that cannot be used: {problem}.", file=path, problem=problem)
        ) from error


def tensors_of(content: bytes, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name; raises CheckpointError for bytes that are not one."""
    try:
        return dict(
            sorted(safetensors.torch.load(content).items())
        )  # sorted, since the parser's own order differs each time
    except Exception as error:  # hostile bytes make the parser raise anything; the file is at fault in every case
        raise CheckpointError(tr("{file} cannot be parsed: {error}.", file=path, error=error)) from error
