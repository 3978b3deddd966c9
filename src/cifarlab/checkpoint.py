"""States that survive kills, and model files that can be trusted: hashed, verified, without pickle.

A checkpoint is a folder: tensors.safetensors, state.json, and last manifest.json with the size and SHA-256 of both.
It is built under a temporary name, flushed, read back and verified, and only then takes the place of `last`, which
becomes `previous`. A model file is one safetensors file whose metadata holds a ModelCard and the
hash of card and tensors.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
import torch
from pydantic import Field, ValidationError
from torch import Tensor

from cifarlab.errors import CheckpointError
from cifarlab.files import atomic_folder, sha256, write_atomic
from cifarlab.recipe import WHITE_LEVEL, Fit, ModelSpec
from cifarlab.section import Positive, Section

MODEL_FORMAT = 1
HEADER_LIMIT = 2**20
"""Bytes of a safetensors header; ours have a few tens of thousands."""

_FILES = ("tensors.safetensors", "state.json")

Triple = Annotated[tuple[float, float, float], Field(strict=False)]


class ModelCard(Section):
    """What must be known to apply a network's weights."""

    architecture: ModelSpec
    class_names: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    mean: Triple
    """Per channel, of pixels as fractions of 255."""
    std: Triple
    image_size: int
    """Side in pixels to which a picture is brought first: the stored size of the training images."""
    fit: Fit = "crop"
    """How a picture that is not square is brought to it."""
    white_level: Annotated[int, Field(ge=256, le=WHITE_LEVEL)] = WHITE_LEVEL
    """The value that is white in greys of 16 bits."""
    input_size: int
    """Side in pixels of what the network sees."""
    temperature: Positive = 1.0
    """Divides the logits before the softmax."""
    recipe: str = ""
    """Name of the recipe that was trained."""
    fingerprint: str = ""
    """Of the training images."""
    original: bool | None = None
    """Whether it was trained on the published pixels; None when nothing is known."""
    version: str = ""
    """Of the cifarlab that wrote it."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to continue a run exactly: tensors by name, and values that JSON can hold."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Make `checkpoint` the `last` in `folder`; the one before it stays as `previous`.

    Raises MachineError when the disk is full, with `last` untouched.
    """
    with atomic_folder(folder / "last", keep_old_as=folder / "previous") as new:
        tensors = {name: tensor.detach().contiguous() for name, tensor in checkpoint.tensors.items()}
        contents = (safetensors.torch.save(tensors), json.dumps(checkpoint.state, allow_nan=False).encode())
        manifest = {}
        for name, content in zip(_FILES, contents, strict=True):
            (new / name).write_bytes(content)
            manifest[name] = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (new / "manifest.json").write_text(json.dumps(manifest))
        _verify(new)


def load(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Load the newest checkpoint in `folder` that verifies, and why newer ones did not; None when there is none yet.

    Raises CheckpointError when there are checkpoints and none verifies: a run never starts anew in silence.
    """
    reasons: list[str] = []
    for path in (folder / "last", folder / "previous"):
        if not path.exists():
            continue
        try:
            _verify(path)
            return _read(path), reasons
        except CheckpointError as error:
            reasons.append(str(error))
    if reasons:
        raise CheckpointError("\n".join(["No checkpoint of this run can be read:", *reasons]))
    return None, []


def save_model(path: Path, weights: dict[str, Tensor], card: ModelCard) -> None:
    """Write a network's weights with everything needed to apply them, as one safetensors file."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    text = card.model_dump_json(exclude_none=True)
    digest = _digest(text, _tensor_bytes(safetensors.torch.save(tensors), path))
    metadata = {"format": f"cifarlab-model-{MODEL_FORMAT}", "card": text, "sha256": digest}
    write_atomic(path, safetensors.torch.save(tensors, metadata))


def load_model(path: Path) -> tuple[dict[str, Tensor], ModelCard]:
    """Read a model file: weights by name, and their card.

    Raises CheckpointError when it is missing, truncated, altered, from a newer cifarlab or no model file at all.
    """
    try:
        content = path.read_bytes()  # hashed and parsed from the same bytes, whatever happens to the file meanwhile
    except OSError as error:
        raise CheckpointError(f"Cannot read the model file {path}: {error.strerror}.") from error
    metadata = _metadata(content, path)
    card = _parse_card(metadata, path)
    if _digest(metadata["card"], _tensor_bytes(content, path)) != metadata["sha256"]:
        raise CheckpointError(f"{path} was altered or damaged: the hash of its weights and card does not match.")
    weights = _tensors(content, path)
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise CheckpointError(f"{path} holds NaN or infinity in {', '.join(broken[:5])}.")
    return weights, card


def _verify(path: Path) -> None:
    """Check sizes and hashes against the manifest that was written last."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        for name in _FILES:
            found, wanted = (path / name).stat().st_size, manifest[name]["size_bytes"]
            if found != wanted:
                raise CheckpointError(f"{path / name} has {found} bytes instead of {wanted}.")
            if sha256(path / name) != manifest[name]["sha256"]:
                raise CheckpointError(f"{path / name} is damaged: its hash does not match.")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a complete checkpoint: {error!r}.") from error


def _read(path: Path) -> Checkpoint:
    state = json.loads((path / "state.json").read_text())
    return Checkpoint(safetensors.torch.load_file(path / "tensors.safetensors"), state)


def _header_size(content: bytes, path: Path) -> int:
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > min(HEADER_LIMIT, len(content) - 8):
        raise CheckpointError(f"{path} is no model file of cifarlab, or only a part of one ({len(content)} bytes).")
    return size


def _tensor_bytes(content: bytes, path: Path) -> memoryview:
    return memoryview(content)[8 + _header_size(content, path) :]


def _metadata(content: bytes, path: Path) -> dict[str, str]:
    try:
        header = json.loads(content[8 : 8 + _header_size(content, path)])
        metadata = header["__metadata__"]
        return {key: str(metadata[key]) for key in ("format", "card", "sha256")}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is no model file of cifarlab: it has no card.") from error


def _digest(card: str, tensors: memoryview) -> str:
    """Over the card and the weights, so that neither can change unnoticed."""
    digest = hashlib.sha256(card.encode())
    digest.update(tensors)
    return digest.hexdigest()


def _parse_card(metadata: dict[str, str], path: Path) -> ModelCard:
    version = metadata["format"].removeprefix("cifarlab-model-")
    if version != str(MODEL_FORMAT):
        raise CheckpointError(f"{path} has model format {version}; this cifarlab reads {MODEL_FORMAT}. Upgrade it.")
    try:
        return ModelCard.model_validate_json(metadata["card"])
    except (ValidationError, RecursionError) as error:
        raise CheckpointError(f"{path} has a card that cannot be used: {error}.") from error


def _tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return dict(sorted(safetensors.torch.load(content).items()))  # the parser's own order differs each time
    except Exception as error:  # the parser meets hostile bytes: whatever it raises, the file is what is wrong
        raise CheckpointError(f"{path} cannot be parsed: {error}.") from error
