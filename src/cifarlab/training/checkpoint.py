"""Checkpoints that survive kills: hashed, verified, without pickle.

A checkpoint is a folder: tensors.safetensors, state.json, and manifest.json with the size and SHA-256 of both.
It is built under a temporary name, flushed, read back and verified; only then it replaces `last`, which becomes
`previous`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from cifarlab.errors import CheckpointError, MachineError
from cifarlab.files import atomic_folder, sha256
from cifarlab.inference.model_file import tensors_of
from cifarlab.language import tr

_FILES = ("tensors.safetensors", "state.json")
"""Neither is a pickle, which could run code when it is loaded."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to continue a run exactly: tensors by name, and values that JSON can hold."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Make `checkpoint` the `last` in `folder`; the one before it is kept as `previous`.

    Raises MachineError when the disk is full, with `last` untouched.
    """
    with atomic_folder(folder / "last", keep_old_as=folder / "previous") as new:
        # safetensors stores contiguous tensors only; channels-last ones get their format back when they are loaded
        tensors = {name: tensor.detach().contiguous() for name, tensor in checkpoint.tensors.items()}
        contents = (safetensors.torch.save(tensors), json.dumps(checkpoint.state, allow_nan=False).encode())
        manifest = {}
        for name, content in zip(_FILES, contents, strict=True):
            (new / name).write_bytes(content)
            manifest[name] = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        # last: without it the folder is not a checkpoint
        (new / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        try:
            # read back while `last` is still whole: a disk that loses data must not cost the older state, too
            _verify(new)
        except CheckpointError as error:
            text = tr("What was written to {folder} cannot be read back: {error}", folder=folder, error=error)
            raise MachineError(text) from error


def load(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Load the newest checkpoint in `folder` that verifies, with the reasons against newer ones; None without any.

    Raises CheckpointError when there are checkpoints and none verifies.
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
    if reasons:  # starting over silently would throw hours of training away
        raise CheckpointError("\n".join([tr("No checkpoint of this run can be read:"), *reasons]))
    return None, []


def _verify(path: Path) -> None:
    """Check sizes and hashes against the checkpoint's manifest."""
    try:
        manifest = json.loads((path / "manifest.json").read_text("utf-8"))
        for name in _FILES:
            # the size first: it is free, and "has 0 bytes" tells more than a hash
            found, wanted = (path / name).stat().st_size, manifest[name]["size_bytes"]
            if found != wanted:
                text = tr("{file} has {found} bytes instead of {wanted}.", file=path / name, found=found, wanted=wanted)
                raise CheckpointError(text)
            if sha256(path / name) != manifest[name]["sha256"]:
                raise CheckpointError(tr("{file} is damaged: its hash does not match.", file=path / name))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:  # the last: deeply nested JSON
        text = tr("{folder} is not a complete checkpoint: {error!r}.", folder=path, error=error)
        raise CheckpointError(text) from error


def _read(path: Path) -> Checkpoint:
    tensors = tensors_of((path / "tensors.safetensors").read_bytes(), path / "tensors.safetensors")
    try:
        return Checkpoint(tensors, json.loads((path / "state.json").read_text("utf-8")))
    except (ValueError, RecursionError) as error:
        text = tr("{file} cannot be parsed: {error}.", file=path / "state.json", error=error)
        raise CheckpointError(text) from error
