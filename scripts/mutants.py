"""How many small faults the tests see: a sample of mutants of the modules that compute, split, store and decide.

    python scripts/mutants.py [--seed 0] [--count 150] [--under training,files.py] [--out mutants.json]

A mutant is the package with one change (a comparison turned, a number one larger, a statement left out, ...) in a copy
of the tree. Its tests run until one fails: those that mirror the changed module, those that import it, and those that
import a module that does. Docstrings, types and the wording of messages are left alone. Every mutant is tried in a
fork of one process that has imported the libraries, which saves some seconds each. Writes all mutants with the test
that saw them, and prints those that none saw; ends with 1 when fewer than AIM were seen.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path("src") / "cifarlab"
AIM = 0.92
MODULES = (
    *("evaluation", "training", "images"),
    *("runs", "machine", "files.py", "judge.py", "inference/model_file.py", "recipe/duration.py"),
)
UNUSED = ("tests/real", "tests/benchmarks", "tests/pages/report/test_browser.py", "tests/test_docs.py")
"""Tests that need what is not copied, or look at no numbers."""

LIBRARIES = (
    *("numpy", "torch", "torchvision.transforms.v2", "safetensors.torch", "scipy.stats", "scipy.optimize", "scipy.io"),
    *("sklearn.metrics", "pyarrow.parquet", "PIL.Image", "pydantic", "typer.testing", "rich.table"),
    *("jinja2", "matplotlib.figure", "tomli_w", "platformdirs", "tensorboard"),
)
TEST_SECONDS = 100
"""Of CPU, that a test may take; none takes a third of it. One that takes more has seen the mutant."""
TOO_LONG = "more than its time"
QUICK_SECONDS, THOROUGH_SECONDS, UNKNOWN_SECONDS = 30, 300, 5
"""How long the tests of importers, and those of their importers, may take together, and how long a file of tests is
thought to take that was not run. All mutants are tried with the quickest tests first; only those that were not seen are
tried with many more, because a mutant that nothing sees costs all the time that there is."""


@dataclass(frozen=True)
class Mutant:
    """One change of a source file: bytes start to end of it become `after`."""

    path: str
    line: int
    operator: str
    start: int
    end: int
    before: str
    after: str

    def text(self) -> str:
        """Where, and what."""
        return f"{self.path}:{self.line}  {self.operator}: {' '.join(self.before.split())}  ->  {self.after}"


# ---------------------------------------------------------------------------------------------------------------------
# Which changes there are

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
}
OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}
TURNED_OTHERWISE = (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Constant)
WORDS = ("log", "warnings", "print")
"""What is called with a message for a person."""


def mutants(path: Path) -> list[Mutant]:
    """All changes of one file, in the order of its text."""
    source = (ROOT / path).read_bytes()
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    found = []
    for node in considered(ast.parse(source)):
        for operator, place, changed in changes(node):
            start = lines[place.lineno - 1] + place.col_offset
            end = lines[place.end_lineno - 1] + place.end_col_offset
            after = f"({ast.unparse(changed)})" if isinstance(changed, ast.expr) else ast.unparse(changed)
            found.append(Mutant(str(path), place.lineno, operator, start, end, source[start:end].decode(), after))
    return sorted(found, key=lambda mutant: (mutant.start, mutant.end, mutant.operator, mutant.after))


def considered(node: ast.AST) -> Iterator[ast.AST]:
    """The statements and expressions that compute something: no texts, types and assertions to the type checker."""
    for child in inner(node):
        if isinstance(child, ast.JoinedStr | ast.Assert | ast.Import | ast.ImportFrom | ast.arguments):
            continue
        if isinstance(child, ast.FunctionDef) and child.name.endswith("_text"):
            continue  # the wording of a message
        if isinstance(child, ast.Raise | ast.Return) and is_message(child):
            yield child
        elif isinstance(child, ast.Expr) and (isinstance(child.value, ast.Constant) or is_message(child)):
            continue
        elif not (isinstance(child, ast.Assign) and is_type(child)):
            yield child
            yield from considered(child)


def inner(node: ast.AST) -> Iterable[ast.AST]:
    """The parts of a node, but for decorators, arguments and annotations."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.body
    if isinstance(node, ast.AnnAssign):
        return [node.value] if node.value else []
    return ast.iter_child_nodes(node)


def is_message(statement: ast.Raise | ast.Return | ast.Expr) -> bool:
    """Whether a statement raises an error, makes one to return, or says something to a person."""
    if isinstance(statement, ast.Raise):
        return True
    called = statement.value.func if isinstance(statement.value, ast.Call) else None
    while isinstance(called, ast.Attribute):
        called = called.value
    return isinstance(called, ast.Name) and (called.id in WORDS or called.id.endswith("Error"))


def is_type(assignment: ast.Assign) -> bool:
    """Whether an assignment names a type, or the names that a module exports."""
    names = [target.id for target in assignment.targets if isinstance(target, ast.Name)]
    value = assignment.value.value if isinstance(assignment.value, ast.Subscript) else assignment.value
    is_generic = isinstance(value, ast.Name) and value.id in {"Annotated", "Callable", "Literal", "NDArray"}
    return "__all__" in names or (is_generic and isinstance(assignment.value, ast.Subscript))


def changes(node: ast.AST) -> Iterator[tuple[str, Any, ast.AST]]:
    """Name of the operator, the node that is changed, and what takes its place."""
    match node:
        case ast.Compare(ops=[operator, *others]):
            yield "comparison", node, replaced(node, ops=[COMPARISONS[type(operator)](), *others])
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in ARITHMETIC and not is_text(node):
            yield "arithmetic", node, replaced(node, op=ARITHMETIC[type(operator)]())
        case ast.BoolOp(op=operator):
            yield "and/or", node, replaced(node, op=ast.Or() if isinstance(operator, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not()):
            yield "not", node, node.operand
        case ast.IfExp(test=test) | ast.If(test=test) | ast.While(test=test) if not isinstance(test, TURNED_OTHERWISE):
            yield "not", test, ast.UnaryOp(ast.Not(), test)
        case ast.Constant(value=bool(value)):
            yield "boolean", node, ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield "number", node, ast.Constant(value + 1)
        case ast.Call(func=ast.Name(id=name)) if name in OPPOSITES:
            yield "opposite", node.func, ast.Name(OPPOSITES[name])
        case ast.Call(func=ast.Attribute(attr=name)) if name in OPPOSITES:
            yield "opposite", node.func, replaced(node.func, attr=OPPOSITES[name])
        case ast.Slice(lower=lower, upper=upper):
            for bound in (lower, upper):
                if bound is not None and not isinstance(bound, ast.Constant):
                    yield "slice", bound, ast.BinOp(bound, ast.Add(), ast.Constant(1))
        case ast.Return(value=ast.expr() as value) if not is_none(value):
            yield "return", node, ast.Return(ast.Constant(None))
        case ast.Raise() | ast.Expr(value=ast.Call()) | ast.Continue() | ast.Break():
            yield "statement", node, ast.Pass()


def replaced(node: Any, **fields: Any) -> Any:
    """The same node with other fields."""
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def is_text(node: ast.BinOp | ast.AugAssign) -> bool:
    """Whether an operation is one on texts or paths, and no arithmetic."""
    sides = [node.left, node.right] if isinstance(node, ast.BinOp) else [node.value]
    return any(
        isinstance(s, ast.JoinedStr) or (isinstance(s, ast.Constant) and isinstance(s.value, str)) for s in sides
    )


def is_none(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


# ---------------------------------------------------------------------------------------------------------------------
# Which tests a module has


def test_files(tree: Path) -> dict[Path, set[str]]:
    """All files of tests that may see a mutant, each with the modules that it imports."""
    files = sorted((tree / "tests").rglob("test_*.py"))
    return {path: imported(path) for path in files if not str(path.relative_to(tree)).startswith(UNUSED)}


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("cifarlab")}


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class Plan:
    """Which tests a mutant has to pass, and in which order."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.tests = test_files(tree)
        self.importers: dict[str, set[str]] = defaultdict(set)
        for path in (tree / PACKAGE).rglob("*.py"):
            for name in imported(path):
                self.importers[name].add(module_name(path.relative_to(tree)))
        self.seconds: dict[str, float] = {}
        """That files of tests took, as far as they were run to their end."""

    def stages(self, path: Path, seconds: float) -> Iterator[list[str]]:
        """The mirrored tests of a module; the quickest of those that import it, and of those that import importers."""
        name, mirrored = module_name(path), self.tree / "tests" / path.parent.relative_to(PACKAGE) / f"test_{path.name}"
        first = [mirrored] if mirrored in self.tests else []
        direct = [test for test, modules in self.tests.items() if name in modules and test not in first]
        hop = [t for t, modules in self.tests.items() if modules & self.importers[name] and t not in (*first, *direct)]
        if first:
            yield self._quickest_first(first)
        for tests in (direct, hop):
            if few := self._few(tests, seconds):
                yield few

    def _few(self, tests: list[Path], seconds: float) -> list[str]:
        """The quickest of some tests, as many as can be run in so many seconds, at least one."""
        files = self._quickest_first(tests)
        until = accumulate(self.seconds.get(file, UNKNOWN_SECONDS) for file in files)
        return [file for file, end in zip(files, until, strict=True) if end < seconds or file == files[0]]

    def _quickest_first(self, tests: list[Path]) -> list[str]:
        files = [str(test.relative_to(self.tree)) for test in tests]
        return sorted(files, key=lambda file: (self.seconds.get(file, UNKNOWN_SECONDS), file))


# ---------------------------------------------------------------------------------------------------------------------
# How they are run


class Recorder:
    """A plugin of pytest: the first test that failed, and the seconds that each file took."""

    def __init__(self, cache: Path) -> None:
        self.cache, self.failed = cache, ""
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_sessionstart(self, session: Any) -> None:
        """Give the tests, whose cache lies in their folder for temporary files, the kernels that were compiled."""
        if self.cache.exists():
            shutil.copytree(self.cache, session.config._tmp_path_factory.getbasetemp() / "cache")

    def pytest_runtest_logstart(self) -> None:
        """End the process, and so the run, when the test that begins does not end."""
        limit_time()

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid.split("::")[0]] += report.duration
        if report.failed:
            self.failed = self.failed or report.nodeid


def limit_time() -> None:
    """Let this process die in TEST_SECONDS of its own time, or after ten times that of anybody's."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + TEST_SECONDS, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_REAL, 10 * TEST_SECONDS)


class Bench:
    """Where mutants are tried: a copy of the tree, and beside it what the tests write."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tree = folder, folder / "tree"
        self.trusted: set[str] = set()
        """Tests that pass without a mutant."""
        self.broken: set[str] = set()
        """Those that do not, and say nothing of one."""
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, listing.split("\0")):
            if (ROOT / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.tree / name)
        # the kernels, compiled once for all tests
        code = "from cifarlab.kernels import build; build.load(compiles=True, check=lambda: None)"
        cache = {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(self.tree / "src")}
        subprocess.run([sys.executable, "-c", code], env={**os.environ, **cache}, check=False)

    def seen_by(self, mutant: Mutant, plan: Plan, seconds: float) -> str:
        """The test that saw the mutant, or nothing."""
        for files in plan.stages(Path(mutant.path), seconds):
            while failed := self._first_failure(files, plan, mutant):
                if failed == TOO_LONG or failed in self.trusted:
                    return failed
                if not self._first_failure([failed], plan):
                    self.trusted.add(failed)
                    return failed
                self.broken.add(failed)
        return ""

    def _first_failure(self, tests: list[str], plan: Plan, mutant: Mutant | None = None) -> str:
        """The first test that fails, in a fork of this process."""
        result = self.folder / "result.json"
        result.unlink(missing_ok=True)
        with self._with(mutant):
            child = os.fork()
            if child == 0:
                try:
                    self._run(tests, result)
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what the tests had started
        if not result.exists():
            return TOO_LONG
        found = json.loads(result.read_text("utf-8"))
        if not found["failed"]:
            plan.seconds |= found["seconds"]
        return str(found["failed"])

    @contextmanager
    def _with(self, mutant: Mutant | None) -> Iterator[None]:
        if mutant is None:
            yield
            return
        path = self.tree / mutant.path
        source = path.read_bytes()
        # within a second, a file of the same size would pass for the one that was compiled
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
        path.write_bytes(source[: mutant.start] + mutant.after.encode() + source[mutant.end :])
        try:
            yield
        finally:
            path.write_bytes(source)
            Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)

    def _run(self, tests: list[str], result: Path) -> None:
        os.setpgid(0, 0)  # no session of its own, which would take the first terminal that a test opens
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs this in the background
        with open(os.devnull, "rb") as nothing, open(self.folder / "pytest.txt", "wb") as log:  # noqa: PTH123
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        limit_time()
        os.chdir(self.tree)
        os.environ["PYTHONPATH"] = str(self.tree / "src")
        sys.path[:0] = [str(self.tree), str(self.tree / "src")]  # as `python -m pytest` has it there
        recorder = Recorder(self.folder / "cache")
        options = ["-x", "-q", f"--basetemp={self.folder / 'tmp'}"]
        options += [f"--deselect={test}" for test in self.broken]
        pytest.main([*options, *tests], plugins=[recorder])
        result.write_text(json.dumps({"failed": recorder.failed, "seconds": recorder.seconds}), "utf-8")


def sample(under: Iterable[str], seed: int, count: int) -> list[Mutant]:
    """`count` of all mutants, in the order of their places."""
    places = [ROOT / PACKAGE / name for name in under]
    paths = [path for place in places for path in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
    everything = [mutant for path in paths for mutant in mutants(path.relative_to(ROOT))]
    chosen = random.Random(seed).sample(everything, min(count, len(everything)))
    return sorted(chosen, key=lambda mutant: (mutant.path, mutant.start))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--under", type=lambda text: text.split(","), default=MODULES, help="modules of the package")
    parser.add_argument("--out", type=Path, default=Path("mutants.json"))
    arguments = parser.parse_args()
    chosen = sample(arguments.under, arguments.seed, arguments.count)
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # what is forked has one thread
    for library in LIBRARIES:
        importlib.import_module(library)
    seen: dict[Mutant, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        plan = Plan(bench.tree)
        for seconds in (QUICK_SECONDS, THOROUGH_SECONDS):
            for number, mutant in enumerate(chosen, 1):
                if seen.get(mutant):
                    continue
                started = time.monotonic()
                seen[mutant] = bench.seen_by(mutant, plan, seconds)
                took = time.monotonic() - started
                print(f"{number:3} {took:4.0f} s  {seen[mutant] or 'NOT SEEN'}  {mutant.text()}", flush=True)
    num_seen = sum(bool(test) for test in seen.values())
    facts = {
        "seed": arguments.seed,
        "num_mutants": len(seen),
        "num_seen": num_seen,
        "not_seen_by_operator": Counter(mutant.operator for mutant, test in seen.items() if not test),
        "broken_tests": sorted(bench.broken),
        "mutants": [{**asdict(mutant), "seen_by": test} for mutant, test in seen.items()],
    }
    arguments.out.write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    print(f"{num_seen} of {len(seen)} mutants seen ({num_seen / len(seen):.0%}). In {arguments.out}: all of them.")
    return int(num_seen < AIM * len(seen))


if __name__ == "__main__":
    sys.exit(main())
