"""The run folder: everything that a training leaves and every later command reads."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from cifarlab.console import log, quoted
from cifarlab.errors import (
    CheckpointError,
    CifarlabError,
    MissingExtraError,
    RecipeError,
    RunInUseError,
    UsageError,
    cause,
)
from cifarlab.files import is_portable, lock, machine_errors, remove_leftovers, write_atomic
from cifarlab.language import listed, tr
from cifarlab.recipe.mistakes import section_from
from cifarlab.recipe.schema import NAME, DataSpec, Recipe
from cifarlab.recipe.section import first_problem
from cifarlab.recipe.toml import load_recipe, to_toml
from cifarlab.runs.manifest import COMPLETE, DIVERGED, TRAINED, TRAINING, DataFacts, Manifest
from cifarlab.runs.metrics import COLUMNS, Metrics, Row, from_csv, to_csv
from cifarlab.runs.nearby import is_run, neighbours, numbered, own_folders
from cifarlab.runs.paths import MODEL_FILE, RECIPE_FILE, SEEDS, STUDIES, RunPaths
from cifarlab.shown import Shown, accuracy_text

if TYPE_CHECKING:
    import pandas

_STATES = {TRAINING: "not finished", TRAINED: "trained, not complete", COMPLETE: "complete", DIVERGED: "diverged"}
"""The status in a manifest, for people; a run that was killed keeps the status of one that is still training."""


@dataclass(frozen=True)
class Run(RunPaths, Shown):
    """A run folder. Every file in it is whole or absent: written under a temporary name, flushed, renamed."""

    def __repr__(self) -> str:
        return f"Run({', '.join([repr(str(self.path)), *self._state()])})"

    def _state(self) -> list[str]:
        """What there is to say about the run in a few words; a folder in any state has some."""
        if not is_run(self.path):
            return ["not a run folder"]
        try:
            if self.study:
                return [STUDIES[self.study], *(_spread_text(self.group) if self.study == SEEDS else [])]
            if not self.manifest_file.exists():
                return ["not started"]
            accuracies = filter(None, (_accuracy_text(name, self.evaluation(name)) for name in ("test", "val")))
            return [text for text in (_STATES.get(self.facts.status, ""), next(accuracies, "")) if text]
        except (CifarlabError, LookupError, TypeError, ValueError, OSError):
            return ["damaged"]  # a repr that raised would hide what a debugger or a traceback was about to show

    @classmethod
    def create(cls, root: Path, name: str) -> Run:
        """Make `root/name`, or `root/name-2`, `-3`, ... when that exists; nothing is ever overwritten.

        Raises UsageError for a name that is not a plain folder name, MachineError where no folder can be made.
        """
        if re.fullmatch(NAME, name) is None:
            raise UsageError(
                tr("A run cannot be called {name!r}: letters, digits and . _ - only, 64 at most.", name=name[:80])
            )
        if not is_portable(name):
            raise UsageError(
                tr("A run cannot be called {name!r}, a name that Windows does not have. Choose another.", name=name)
            )
        with machine_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            for folder in numbered(root, name):
                try:
                    # tried, not looked for first: of two trainings that start at once one would overwrite the other
                    folder.mkdir()
                except FileExistsError:
                    continue
                return cls(folder)
        raise AssertionError("numbers never end")

    @classmethod
    def next_path(cls, root: Path, name: str) -> Path:
        """The folder that `create` would make now, if nobody else makes it first."""
        return next(folder for folder in numbered(root, name) if not folder.exists())

    @classmethod
    @contextmanager
    def new(
        cls, root: Path, name: str, recipe: Recipe, *, study: str = "", plan: Mapping[str, Any] = {}
    ) -> Iterator[Run]:
        """Create a run and hold its lock while the block runs; `study` is a file of STUDIES, which gets `plan`.

        When the block fails before it has left anything but the recipe, the folder is removed again.
        """
        run = cls.create(root, name)
        try:
            with run.locked():
                if study:  # before the recipe: killed between the two, the folder must not look like a plain run
                    run.write_study(study, dict(plan))
                run.write_recipe(recipe)
                yield run
        except BaseException:  # Ctrl-C included
            if not run.has_begun:
                shutil.rmtree(run.path, ignore_errors=True)
            raise

    @classmethod
    def open(cls, path: Run | str | Path) -> Run:
        """Open an existing run; raises UsageError when the folder is not one."""
        folder = Path(path)
        # most often a parent folder or a typo, so the error lists the runs nearby
        if not is_run(folder):
            what = tr("{folder} is not a run folder: it has no recipe.toml.", folder=folder)
            raise UsageError(f"{what}\n{neighbours(folder)}")
        return cls(folder)

    @classmethod
    def of(cls, path: str | Path) -> Run | None:
        """The run that a folder is, or whose model a file is; None for a model file elsewhere. Raises as `open`."""
        path = Path(path)
        if not path.is_file():
            return cls.open(path)
        return cls(path.parent) if path.name == MODEL_FILE and is_run(path.parent) else None

    def __fspath__(self) -> str:
        return str(self.path)  # so that a run is taken wherever its folder is: Path(run), Classifier.load(run)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def as_argument(self) -> str:
        """The path quoted for a shell, for messages that name a command."""
        return quoted(str(self.path))

    @property
    def study(self) -> str:
        """The file of STUDIES that the folder has; empty for a run."""
        return next((name for name in STUDIES if (self.path / name).exists()), "")

    @property
    def has_begun(self) -> bool:
        """Whether there is more than a recipe: a manifest, or runs inside."""
        return self.manifest_file.exists() or bool(self.inner_runs)

    @property
    def inner_runs(self) -> list[Run]:
        """The runs inside a study's folder, finished or not, by name."""
        return [Run(path.parent) for path in sorted(self.path.glob(f"*/{RECIPE_FILE}"))]

    @property
    def seeds(self) -> list[Run]:
        """The finished runs of a group, one per seed; empty for a single run.

        Raises CheckpointError when seeds.json cannot be read or names what is not a run, or when no seed has finished.
        """
        path = self.path / SEEDS
        if not path.exists():
            return []
        names = self.group["runs"]
        # resuming helps only where seeds are left to be trained
        if not names and self.group.get("diverged"):
            raise CheckpointError(tr("{file} names no runs: all of its seeds diverged.", file=path))
        if not names:
            text = tr("{file} names no runs: no seed has finished yet.\nContinue with: cifarlab train --resume {run}")
            raise CheckpointError(text.format(file=path, run=self.as_argument))
        runs = [Run(self.path / str(name)) for name in names]
        # a name such as ".." or "/etc" would lead out of the group's folder: seeds.json may come from somebody else
        missing = [run.name for run in runs if not re.fullmatch(NAME, run.name) or not is_run(run.path)]
        if missing or any(run.path.parent != self.path for run in runs):
            found = listed(missing) or names
            raise CheckpointError(tr("{file} names what is not a run: {names}.", file=path, names=found))
        return runs

    @property
    def group(self) -> dict[str, Any]:
        """The contents of seeds.json: a group's status, the seeds that were planned, the runs that have finished, ...

        Raises CheckpointError when it cannot be read.
        """
        values = self._read_json(self.path / SEEDS)
        if not isinstance(values.get("runs"), list):
            raise CheckpointError(tr("{file} names no runs.", file=self.path / SEEDS))
        return values

    def write_study(self, study: str, values: dict[str, Any]) -> None:
        """Store the results of a study so far in its file, one of STUDIES."""
        self._write_json(self.path / study, values)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run's lock, and clear what a killed writer left; raises RunInUseError when somebody else has it."""
        # two writers would replace each other's checkpoints; the lock dies with its process, so none is left behind
        with lock(self.path / ".lock", wait=False):
            for folder in own_folders(self.path):
                remove_leftovers(folder)
            yield

    @contextmanager
    def locked_if_free(self) -> Iterator[None]:
        """Hold the run's lock if it is free; while a training holds it, go on without.

        For reports, which only read the run's facts and add pages.
        """
        # locked where possible: another process that locks the run clears unfinished files, those of a report too
        with ExitStack() as stack:
            try:
                stack.enter_context(self.locked())
            except RunInUseError:
                log.info(tr("{run} is in use: what follows shows it as it is now.", run=self.path))
            yield

    def write_recipe(self, recipe: Recipe) -> None:
        """Store the complete recipe: training it again repeats the run."""
        write_atomic(self.recipe_file, to_toml(recipe))

    @property
    def recipe(self) -> Recipe:
        """The recipe that was trained; raises CheckpointError when its file is cut off."""
        path = self.recipe_file
        recipe = load_recipe(path)
        text = path.read_text("utf-8")
        # half of a TOML file may be a valid one, with defaults for the rest; [evaluation] is its last section
        if "\n[evaluation]\n" not in text or not text.endswith("\n"):
            text = tr("{file} is cut off: it was written whole, with [evaluation] at its end.", file=path)
            raise CheckpointError(text)
        return recipe

    @property
    def data(self) -> DataSpec:
        """The run's data: what the recipe names, read as it was understood when training began.

        Data that was given as a relative path is found from any working folder; where it is no longer there, it is
        looked for as given.
        """
        data = self.recipe.data
        if not self.manifest_file.exists():
            return data
        try:
            # guesses are not made again: pictures that were added since could make folders mean something else
            settled = self.data_facts.understanding.get("settled", {})
            understood = section_from(DataSpec, {**data.model_dump(), **settled}, "data")
            has_moved = not Path(understood.source).exists() and Path(data.source).exists()
        except (RecipeError, KeyError, TypeError, AttributeError, OSError, ValueError) as error:
            text = tr("{file} does not say how its data is read: {error}", file=self.manifest_file, error=error)
            raise CheckpointError(text) from error
        return understood.model_copy(update={"source": data.source}) if has_moved else understood

    def update_manifest(self, **values: Any) -> None:
        """Add or replace facts in manifest.json."""
        # callers hold the lock, so nobody writes between this reading and the writing
        known = self.manifest if self.manifest_file.exists() else {}
        self._write_json(self.manifest_file, {**known, **values})

    @property
    def manifest(self) -> dict[str, Any]:
        """The contents of manifest.json as they are stored; `facts` is the same, typed."""
        return self._read_json(self.manifest_file)

    @property
    def facts(self) -> Manifest:
        """The manifest, typed; raises CheckpointError, which names the file and what is wrong in it."""
        try:
            return Manifest.model_validate(self.manifest)
        except ValidationError as error:
            text = tr("{file} cannot be used: {error}.", file=self.manifest_file, error=first_problem(error))
            raise CheckpointError(text) from error

    @property
    def divergence(self) -> str:
        """How the training diverged, in one line; empty when it did not."""
        facts = self.facts if self.manifest_file.exists() else Manifest()  # killed before its first step
        return facts.divergence if facts.status == DIVERGED else ""

    @property
    def data_facts(self) -> DataFacts:
        """The facts about the images; raises CheckpointError when there are none."""
        facts = self.facts
        if "data" not in facts.model_fields_set:
            raise CheckpointError(tr("{file} says nothing about the data.", file=self.manifest_file))
        return facts.data

    def update_data_facts(self, **values: Any) -> None:
        """Add or replace facts about the images in manifest.json."""
        self.update_manifest(data={**self.manifest.get("data", {}), **values})

    def write_metrics(self, rows: Iterable[Row]) -> None:
        """Store the whole table."""
        # rewritten each epoch, since it is small: a kill could leave half of an appended row
        write_atomic(self.metrics_file, to_csv(rows))

    @property
    def metrics(self) -> Metrics:
        """One row per epoch, which pandas.DataFrame takes as it is; raises CheckpointError when it cannot be read."""
        try:
            return from_csv(self.metrics_file.read_text("utf-8"))
        except (OSError, ValueError, csv.Error) as error:
            text = tr("Cannot read {file}: {error}.", file=self.metrics_file, error=cause(error))
            raise CheckpointError(text) from error

    def metrics_frame(self) -> pandas.DataFrame:
        """The metrics as a pandas.DataFrame, one row per epoch; what has no value is NaN.

        Raises MissingExtraError without pandas, and CheckpointError when the file cannot be read.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError("pandas", "notebook") from error
        # columns and dtype are named for runs that have no epoch yet, or in which nothing was validated
        return pandas.DataFrame(self.metrics, columns=list(COLUMNS), dtype=float)

    def write_evaluation(self, name: str, values: dict[str, Any]) -> None:
        """Store the numbers of one split under evaluation-<name>.json."""
        self._write_json(self.evaluation_file(name), values)

    def evaluation(self, name: str) -> dict[str, Any] | None:
        """The stored numbers of one split, or None when it was not evaluated."""
        if not self.evaluation_file(name).exists():
            return None
        return self._read_json(self.evaluation_file(name))

    def open_test(self, reason: str, source: str | None = None) -> int:
        """Write an opening of the test split, or of the other images that `source` names, into the ledger.

        Returns how often these images have been opened, this time included.
        """
        # a test accuracy means less each time that somebody has looked at it and gone on changing the recipe, so every
        # opening is counted, those of other images apart
        time = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"time": time, "reason": reason} | ({} if source is None else {"source": source})
        entries = [*self.test_openings, entry]
        write_atomic(self.ledger_file, "".join(f"{json.dumps(entry)}\n" for entry in entries))
        return sum(each.get("source") == source for each in entries)

    @property
    def test_openings(self) -> list[dict[str, str]]:
        """The ledger: when and why the test split was opened, or other images, which `source` then names."""
        path = self.ledger_file
        try:
            return [_entry(line) for line in path.read_text("utf-8").splitlines()]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(tr("Cannot read {file}: {error}.", file=path, error=cause(error))) from error

    def _write_json(self, path: Path, values: dict[str, Any]) -> None:
        # NaN is refused: it is not JSON, and other readers stop at it
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
        # bytes of a path that are not UTF-8 arrive as lone surrogates, which JSON can hold as escapes
        write_atomic(path, f"{text}\n".encode("utf-8", "backslashreplace"))

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            values = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:  # the last: deeply nested brackets
            raise CheckpointError(tr("Cannot read {file}: {error}.", file=path, error=cause(error))) from error
        if not isinstance(values, dict):
            raise CheckpointError(tr("{file} holds {type}, not an object.", file=path, type=type(values).__name__))
        return values


def _accuracy_text(split: str, evaluation: dict[str, Any] | None) -> str:
    if evaluation is None:
        return ""
    return f"{split} {accuracy_text(evaluation['accuracy'], evaluation['accuracy_interval'])}"


def _spread_text(group: dict[str, Any]) -> list[str]:
    """How many seeds have finished, with mean and standard deviation of their test accuracies."""
    found = group.get("test_accuracy") or {}
    test = f"test {100 * found['mean']:.1f} ± {100 * found['sd']:.1f} %" if found.get("sd") is not None else ""
    return [f"{len(group['runs'])} finished", *filter(None, [test])]


def _entry(line: str) -> dict[str, str]:
    """Parse one line of the ledger; raises ValueError when it is not one."""
    entry = json.loads(line)
    if not isinstance(entry, dict) or not {"time", "reason"} <= entry.keys():
        raise ValueError(tr("{line!r} is not an entry", line=line[:60]))
    return entry
