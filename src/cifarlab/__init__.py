"""A laboratory for small-image classification: from data to an honestly tested model in one command.

    import cifarlab

    run = cifarlab.train("quick")
    cifarlab.Classifier.load(run.path).predict(["cat.png"])

Functions say on stderr what they do, as the command does, unless the program has configured logging: `cifarlab.notes`.
They speak the language of the environment, as the command does, or the one that `cifarlab.speak` chooses.
Names that need torch are loaded when they are first used, so that `import cifarlab` does not wait for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cifarlab import shown
from cifarlab.api import ablate, compare, evaluate, explain, lr_find, predict, report, resume, speak, train
from cifarlab.errors import CifarlabError
from cifarlab.language import speak_as_the_environment_says
from cifarlab.machine.tier import limit_torch
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from cifarlab.version import VERSION

# Type checkers and editors see these names as if they were imported; at run time __getattr__ below loads them
if TYPE_CHECKING:
    from cifarlab.batches.augment import augment, normalise
    from cifarlab.batches.loader import Loader
    from cifarlab.evaluation.evaluate import Evaluation
    from cifarlab.evaluation.stored import read_evaluation
    from cifarlab.images.images import Images
    from cifarlab.images.sources import load_images
    from cifarlab.inference.classifier import Classifier, Prediction
    from cifarlab.models.registry import build_network
    from cifarlab.studies.compare.compare import Comparison

__version__ = VERSION

limit_torch()  # torch reads the environment when it is imported, which nothing above does

# Here and not in each function, so that an error of load_recipe and a cell of a notebook speak it, too. A program that
# reads what is said to people chooses itself: speak("en"), or CIFARLAB_LANG=en.
speak_as_the_environment_says()

# A name that leaves this list breaks somebody's program, so it also stands in the changelog
__all__ = [
    "CifarlabError",
    "Classifier",
    "Comparison",
    "Evaluation",
    "Images",
    "Loader",
    "Prediction",
    "Recipe",
    "Run",
    "__version__",
    "ablate",
    "augment",
    "build_network",
    "compare",
    "evaluate",
    "explain",
    "load_images",
    "load_recipe",
    "lr_find",
    "normalise",
    "predict",
    "read_evaluation",
    "report",
    "resume",
    "speak",
    "train",
]

# Importing torch takes 1.8 s, and everything here leads to it or to numpy, which help and listings need not wait for
_ON_FIRST_USE = {
    "Loader": ("cifarlab.batches.loader", "Loader"),
    "augment": ("cifarlab.batches.augment", "augment"),
    "build_network": ("cifarlab.models.registry", "build_network"),
    "normalise": ("cifarlab.batches.augment", "normalise"),
    "read_evaluation": ("cifarlab.evaluation.stored", "read_evaluation"),
    "Classifier": ("cifarlab.inference.classifier", "Classifier"),
    "Comparison": ("cifarlab.studies.compare.compare", "Comparison"),
    "Evaluation": ("cifarlab.evaluation.evaluate", "Evaluation"),
    "Images": ("cifarlab.images.images", "Images"),
    "Prediction": ("cifarlab.inference.classifier", "Prediction"),
    "load_images": ("cifarlab.images.sources", "load_images"),
}


def _draw(what: shown.Shown) -> str:
    """What a notebook shows of an object; loads what draws when something is shown for the first time."""
    from cifarlab.drawing.notebook import to_html

    return to_html(what)


shown.drawn_by = _draw  # handed down, because what it draws lies below drawing


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used; raises AttributeError for any other name (PEP 562)."""
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module 'cifarlab' has no attribute {name!r}")
    module, attribute = _ON_FIRST_USE[name]
    # kept as a global, so that this function is not called for the name again
    globals()[name] = value = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    # without the names of __all__, tab completion would miss those that are not loaded yet
    return sorted({*globals(), *__all__})
