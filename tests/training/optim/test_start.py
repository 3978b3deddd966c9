"""How soon a training can begin."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys, torch
from cifarlab.inference.classifier import _network_of
from cifarlab.models.registry import build_network
from cifarlab.models.finetune import parameter_groups
from cifarlab.recipe.toml import load_recipe
from cifarlab.training.optim.build import build, state_tensors

recipe = load_recipe("quick").set("optimizer.name=" + sys.argv[1], "optimizer.nesterov=false")
model = build_network(recipe.model, 10, 32)
optimizer = build(recipe.optimizer, parameter_groups(model, 1.0, 0.0, True), torch.device("cpu"))
optimizer.zero_grad()
model(torch.zeros(2, 3, 32, 32)).sum().backward()
optimizer.step()
assert state_tensors(optimizer)
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "muon"])
def test_no_optimizer_makes_torch_import_its_compiler(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, name], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
