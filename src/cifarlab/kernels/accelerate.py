"""The one way to the kernels: whether this machine has them, and a network that uses what is fast here.

The rest of the package works without: `machine.runtime.resolve` starts no compiler, and a network that was not
accelerated computes the same by torch's own operations, with the same weights and names.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from cifarlab.errors import NoKernelsError
from cifarlab.kernels import library
from cifarlab.kernels.layers.networks import use_answering_kernels, use_kernels
from cifarlab.kernels.layers.small_maps import use_matrix_products
from cifarlab.machine.runtime import Runtime, resolve
from cifarlab.recipe.schema import RuntimeSpec


def choose_runtime(spec: RuntimeSpec, *, build: bool = True) -> Runtime:
    """Choose what is fast on this machine wherever the recipe says auto, CPU kernels included.

    build: compile the kernels where that has not been done. Raises MachineError for what `machine.runtime.resolve`
    refuses, for kernels that are asked for and cannot be had, and for those whose compilation failed only this time.
    """
    runtime = resolve(spec)
    kernels = _kernels(spec, runtime, build=build)
    return replace(runtime, kernels=kernels, kernels_fingerprint=library.fingerprint() if kernels == "on" else "")


def accelerate(model: nn.Module, runtime: Runtime, *, trains: bool) -> None:
    """Let a network that lies on the runtime's device use what is fast there; weights and their names stay.

    trains: for a network that learns, else for one whose weights stay as they are and that predicts in float32.
    """
    if runtime.kernels == "on":
        (use_kernels if trains else use_answering_kernels)(model)
    if trains and runtime.device.type == "cpu" and runtime.precision == "bf16":
        use_matrix_products(model)


def _kernels(spec: RuntimeSpec, runtime: Runtime, *, build: bool) -> str:
    """Either "on" or, in one line, why not."""
    if spec.kernels == "off" or runtime.device.type != "cpu" or spec.compile == "on":
        return "off"
    try:
        library.load(build=build)
    except NoKernelsError as error:
        if spec.kernels == "on":
            raise
        return str(error).splitlines()[0]
    return "on"
