"""The public names: listed, typed, loaded on first use, and the same objects as inside the package."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import cifarlab
from cifarlab.version import VERSION

PACKAGE = Path(cifarlab.__file__).parent

PUBLIC = {
    "CifarlabError": ("errors", "CifarlabError"),
    "Classifier": ("inference.classifier", "Classifier"),
    "Comparison": ("studies.compare.compare", "Comparison"),
    "Evaluation": ("evaluation.evaluate", "Evaluation"),
    "Images": ("images.images", "Images"),
    "Loader": ("batches.loader", "Loader"),
    "Prediction": ("inference.classifier", "Prediction"),
    "Recipe": ("recipe.schema", "Recipe"),
    "Run": ("runs.folder", "Run"),
    "__version__": ("version", "VERSION"),
    "ablate": ("api", "ablate"),
    "augment": ("batches.augment", "augment"),
    "build_network": ("models.registry", "build_network"),
    "compare": ("api", "compare"),
    "evaluate": ("api", "evaluate"),
    "explain": ("api", "explain"),
    "load_images": ("images.sources", "load_images"),
    "load_recipe": ("recipe.toml", "load_recipe"),
    "lr_find": ("api", "lr_find"),
    "normalise": ("batches.augment", "normalise"),
    "predict": ("api", "predict"),
    "read_evaluation": ("evaluation.stored", "read_evaluation"),
    "report": ("api", "report"),
    "resume": ("api", "resume"),
    "speak": ("api", "speak"),
    "train": ("api", "train"),
}


def test_the_public_names_are_these() -> None:
    """A name that leaves this list breaks somebody's program: that needs a line in CHANGELOG.md."""
    assert sorted(cifarlab.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_the_object_where_it_is_defined(name: str) -> None:
    module, attribute = PUBLIC[name]
    assert getattr(cifarlab, name) is getattr(import_module(f"cifarlab.{module}"), attribute)


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - {"__version__"}))
def test_a_public_name_is_explained(name: str) -> None:
    assert getattr(cifarlab, name).__doc__


def test_the_readme_lists_every_public_name() -> None:
    text = (PACKAGE.parents[1] / "README.md").read_text("utf-8").split("## In Python")[1].split("\n## ")[0]
    assert set(PUBLIC) - {"__version__"} <= set(re.findall(r"`(\w+)`", text))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = cifarlab.trian


def test_dir_lists_what_is_not_loaded_yet() -> None:
    assert set(cifarlab.__all__) <= set(dir(cifarlab))
    assert dir(cifarlab) == sorted(dir(cifarlab))


def test_type_checkers_see_what_is_loaded_on_first_use() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == cifarlab._ON_FIRST_USE
    assert set(seen) == {name for name, (module, _) in PUBLIC.items() if f"cifarlab.{module}" in dict(seen.values())}


def test_the_package_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_importing_loads_no_torch_and_a_recipe_needs_none() -> None:
    program = "import sys, cifarlab; cifarlab.load_recipe('resnet18'); sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


def test_star_import_gives_the_public_names() -> None:
    namespace: dict[str, object] = {}
    exec("from cifarlab import *", namespace)
    assert set(PUBLIC) <= set(namespace)


def test_the_version_is_one_number_everywhere() -> None:
    assert cifarlab.__version__ == VERSION
    assert f'VERSION = "{VERSION}"' in (PACKAGE / "version.py").read_text("utf-8")
    assert f"\nversion: {VERSION}\n" in (PACKAGE.parents[1] / "CITATION.cff").read_text("utf-8")
