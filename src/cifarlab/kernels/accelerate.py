"""The one way to the kernels: whether this machine has them, and a network that uses what is fast here.

The rest of the package works without them: `machine.runtime.resolve` starts no compiler, and a network that was not
accelerated computes the same with torch's own operations, under the same weight names.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from cifarlab.errors import NoKernelsError
from cifarlab.kernels import build
from cifarlab.kernels.check import check
from cifarlab.kernels.layers.networks import use_kernels, use_predicting_kernels
from cifarlab.kernels.layers.small_maps import use_matrix_products
from cifarlab.machine.runtime import Runtime, resolve
from cifarlab.recipe.schema import RuntimeSpec


def choose_runtime(spec: RuntimeSpec, *, compiles: bool = True) -> Runtime:
    """Choose what is fast on this machine wherever the recipe says auto, CPU kernels included.

    compiles: compile the kernels if they are not in the cache yet. Raises MachineError for whatever
    `machine.runtime.resolve` refuses, for kernels that are asked for ("on") but unavailable, and for kernels whose
    compilation failed for a passing reason.
    """
    runtime = resolve(spec)  # device, precision and threads, which starts no compiler
    # Kernels are called by address, which torch.compile cannot trace.
    if spec.kernels == "off" or runtime.device.type != "cpu" or spec.compile == "on":
        return runtime
    try:
        build.load(compiles=compiles, check=check)
    except NoKernelsError as error:  # a passing failure is a plain MachineError, which ends the training
        if spec.kernels == "on":
            raise
        english, spoken = (text.splitlines()[0] for text in (error.english, str(error)))
        return replace(runtime, kernels=english, why_no_kernels=spoken)
    # The fingerprint goes into the manifest: kernels from another compiler round differently, and resuming says so.
    return replace(runtime, kernels="on", kernels_fingerprint=build.fingerprint())


def accelerate(model: nn.Module, runtime: Runtime, *, trains: bool) -> None:
    """Replace the layers of a network, in place, by forms that are fast on the runtime; weights keep their names.

    The network lies on the runtime's device. trains: for a network in training; otherwise for one that only predicts,
    in float32, with weights that no longer change.
    """
    if runtime.kernels == "on" and trains:
        use_kernels(model, runtime.dtype)
    elif runtime.kernels == "on":
        use_predicting_kernels(model)
    # Only what still has torch's own class is replaced, so this reaches the layers for which there was no kernel.
    if trains and runtime.device.type == "cpu" and runtime.precision == "bf16":
        use_matrix_products(model)
