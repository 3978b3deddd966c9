"""The shape of the source, held by the standard library alone: who imports whom, how long, how typed, how safe."""

from __future__ import annotations

import ast
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "cifarlab"

LINES = (
    ("language", "shown", "version"),
    ("console", "errors"),
    ("recipe", "files"),
    ("machine", "notes", "runs"),
    ("images",),
    ("batches", "models"),
    ("kernels",),
    ("evaluation",),
    ("drawing",),
    ("inference",),
    ("judge",),
    ("explanation",),
    ("training",),
    ("studies",),
    ("pages", "bench"),
    ("api",),
    ("cli",),
    ("__init__", "__main__"),
)
"""Imports point up this list, to lines that come before; members of one line do not import each other.

The classifier lies below training, because training opens the test split through it.
ARCHITECTURE.md gives the reasons for the order and draws it; a test below holds that the two agree.
"""

LATE_IMPORTS = {"api", "cli", "__init__", "__main__"}
"""May import the package's own modules inside functions, so that a command starts before torch is loaded."""

TORCH = {"torch", "torchvision", "timm"}
NOT_AT_START = TORCH | {"scipy", "sklearn", "matplotlib", "pandas", "pyarrow", "tensorboard", "PIL"}

TORCH_FREE = (
    *(
        "errors",
        "shown",
        "version",
        "language",
        "console",
        "notes",
        "files",
        "recipe",
        "runs",
        "images",
        "evaluation",
        "drawing",
        "pages",
    ),
    *("studies.compare", "machine.process", "api", "cli", "__init__", "__main__"),
)
"""Rooms, and modules of rooms, that load no torch when they are imported, so that help and listings start at once."""

STARTS_PROGRAMS = {"kernels.compiler", "training.run_facts", "bench.startup"}
"""May start another program: a C++ compiler; git, for the state of the working tree; Python, to time its start."""

ONE_SYSTEM_ONLY = {"fcntl", "pwd", "grp", "resource", "termios", "pty", "posix", "msvcrt", "winreg", "_winapi"}

FORBIDDEN_NAMES = {"utils", "util", "common", "core", "helpers", "helper", "base", "manager", "misc", "tools"}

UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"torch.load", "torch.save", "os.system", "os.popen", "yaml.load", "pd.read_pickle"}


@dataclass(frozen=True)
class Import:
    """One name that a module imports: absolute module, the name taken from it, and where the statement stands."""

    module: str
    name: str
    line: int
    in_function: bool
    for_types_only: bool


@dataclass(frozen=True)
class Module:
    path: Path

    @cached_property
    def name(self) -> str:
        """Dotted, without the package: "images.images"; a package stands for its __init__."""
        parts = self.path.relative_to(PACKAGE).with_suffix("").parts
        return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)

    @cached_property
    def member(self) -> str:
        """What stands in LINES."""
        return self.name.split(".")[0]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text("utf-8"), str(self.path))

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        return tuple(_imports(self.tree, in_function=False, for_types_only=False))

    def own_imports(self) -> Iterator[tuple[str, Import]]:
        """The package's own modules that this one imports, by dotted name, "images.images"."""
        for item in self.imports:
            if item.module == "cifarlab" or item.module.startswith("cifarlab."):
                yield _own_module(item), item

    def functions(self) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{self.name}:{node.lineno} {node.name}", node


def _imports(node: ast.AST, *, in_function: bool, for_types_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, "", child.lineno, in_function, for_types_only)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"a relative import in line {child.lineno}"
            for alias in child.names:
                yield Import(child.module or "", alias.name, child.lineno, in_function, for_types_only)
        else:
            inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            types = for_types_only or (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING")
            yield from _imports(child, in_function=inside, for_types_only=types)


def _own_module(item: Import) -> str:
    whole = f"{item.module}.{item.name}".removeprefix("cifarlab").strip(".")
    path = PACKAGE.joinpath(*whole.split("."))
    if whole and (path.with_suffix(".py").is_file() or path.is_dir()):
        return whole
    return item.module.removeprefix("cifarlab").strip(".") or "__init__"


MODULES = tuple(Module(path) for path in sorted(PACKAGE.rglob("*.py")))
BY_NAME = {module.name: module for module in MODULES}
LINE_OF = {member: number for number, line in enumerate(LINES) for member in line}

each_module = pytest.mark.parametrize("module", MODULES, ids=[module.name for module in MODULES])


# Who imports whom


@each_module
def test_every_module_has_a_place_in_the_order(module: Module) -> None:
    assert module.member in LINE_OF


@each_module
def test_imports_follow_the_order(module: Module) -> None:
    for target, item in module.own_imports():
        member = target.split(".")[0]
        if member != module.member:
            assert LINE_OF[member] < LINE_OF[module.member], f"line {item.line} imports {target}"


def test_there_is_no_import_cycle() -> None:
    """Over what is imported when a module is loaded; a package counts as its __init__."""
    edges = {
        module.name: {name for name, item in module.own_imports() if not item.in_function and not item.for_types_only}
        for module in MODULES
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " imports ".join([*path[path.index(name) :], name])
        if name not in done:
            for target in sorted(edges.get(name, ())):
                visit(target, (*path, name))
            done.add(name)

    for name in edges:
        visit(name, ())


@each_module
def test_own_modules_are_imported_at_the_top(module: Module) -> None:
    if module.member not in LATE_IMPORTS:
        assert not [item.line for _, item in module.own_imports() if item.in_function]


@each_module
def test_names_are_imported_from_where_they_are_defined(module: Module) -> None:
    """The __init__ files of rooms define nothing, so names come from modules."""
    for target, item in module.own_imports():
        taken_from = BY_NAME.get(target)
        if taken_from is None or not item.name or target.endswith(item.name):
            continue
        defined = {node.name for node in taken_from.tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assigned = {
            name.id
            for node in taken_from.tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for name in ast.walk(node)
            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
        }
        assert item.name in defined | assigned, f"line {item.line}: {item.name} is not defined in {target}"


@each_module
def test_optional_packages_are_imported_where_they_are_used(module: Module) -> None:
    optional = {"torchvision", "timm", "pandas"}
    early = [item for item in module.imports if item.module.split(".")[0] in optional and not item.in_function]
    assert not [item.line for item in early if not item.for_types_only]


@each_module
def test_nothing_is_imported_by_star(module: Module) -> None:
    assert "*" not in {item.name for item in module.imports}


# What is loaded when


def loaded_by(module: Module) -> dict[str, str]:
    """Every module that loading this one loads, own and foreign, with the path that leads there."""
    found: dict[str, str] = {}

    def visit(current: Module, path: str) -> None:
        for item in current.imports:
            if not item.in_function and not item.for_types_only:
                found.setdefault(item.module, path)
        for target, item in current.own_imports():
            if item.in_function or item.for_types_only:
                continue
            for name in (target, target.rpartition(".")[0]):  # the package of a module is loaded too
                if name in BY_NAME and f"cifarlab.{name}" not in found:
                    found[f"cifarlab.{name}"] = path
                    visit(BY_NAME[name], f"{path} > {name}")

    visit(module, module.name)
    return found


@pytest.mark.parametrize("member", TORCH_FREE)
def test_light_modules_load_no_torch(member: str) -> None:
    for module in MODULES:
        if f"{module.name}.".startswith(f"{member}."):
            heavy = {name: path for name, path in loaded_by(module).items() if name.split(".")[0] in TORCH}
            heavy |= {name: path for name, path in loaded_by(module).items() if name == "safetensors.torch"}
            assert not heavy


@pytest.mark.parametrize("module", ["cifarlab", "cifarlab.cli.main", "cifarlab.recipe.toml", "cifarlab.runs.folder"])
def test_a_fresh_process_loads_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not NOT_AT_START & set(done.stdout.split())


# What is safe


@each_module
def test_k02_nothing_can_be_unpickled(module: Module) -> None:
    """CIFAR's batches are read by our own reader of a few opcodes; nothing else here is a pickle."""
    assert not {item.module.split(".")[0] for item in module.imports} & UNSAFE_MODULES
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in UNSAFE_CALLS, f"line {node.lineno}"
            for keyword in node.keywords:
                assert (keyword.arg, ast.unparse(keyword.value)) not in {
                    ("weights_only", "False"),
                    ("allow_pickle", "True"),
                    ("shell", "True"),
                }, f"line {node.lineno}"


@each_module
def test_k14_no_code_comes_from_text(module: Module) -> None:
    calls = {ast.unparse(node.func) for node in ast.walk(module.tree) if isinstance(node, ast.Call)}
    assert not calls & {"eval", "exec", "compile", "__import__"}
    if module.name != "__init__":
        assert not {name for name in calls if name.endswith("import_module")}


@each_module
def test_other_programs_are_started_where_it_is_allowed(module: Module) -> None:
    if module.name not in STARTS_PROGRAMS:
        assert not {item.module for item in module.imports} & {"subprocess", "pty", "multiprocessing.popen_fork"}


@each_module
def test_n56_text_reaches_the_terminal_through_one_place(module: Module) -> None:
    """Class names and paths are data, which cli.output knows; rich and typer would take them for markup."""
    calls = {ast.unparse(node.func) for node in ast.walk(module.tree) if isinstance(node, ast.Call)}
    if module.name not in ("cli.output", "console"):
        assert not calls & {"print", "typer.echo", "typer.secho", "click.echo", "Console", "sys.stdout.write"}


@each_module
def test_no_exception_is_swallowed(module: Module) -> None:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"a bare except in line {node.lineno}"
            broad = {"Exception", "BaseException"} & set(ast.unparse(node.type).strip("()").split(", "))
            silent = all(isinstance(statement, ast.Pass | ast.Continue) for statement in node.body)
            assert not (broad and silent), f"line {node.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            assert not {"Exception", "BaseException"} & {ast.unparse(kind) for kind in node.args}


# What every system has


def test_modules_of_one_system_are_imported_where_their_absence_is_expected() -> None:
    """At the top only inside of try; Windows has no fcntl, and Linux no _winapi."""
    unguarded = {
        (module.name, item.module)
        for module in MODULES
        for item in module.imports
        if item.module in ONE_SYSTEM_ONLY and not item.in_function
    }
    assert unguarded <= {("files", "fcntl")}, "files expects that there is none"


@each_module
def test_text_is_read_and_written_in_an_encoding_that_is_named(module: Module) -> None:
    """Windows would take one of its own, such as cp1252."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            given = len(node.args) + any(keyword.arg == "encoding" for keyword in node.keywords)
            if node.func.attr in ("read_text", "write_text"):
                assert given >= (1 if node.func.attr == "read_text" else 2), f"line {node.lineno}"


# How it reads


@each_module
def test_module_names_say_what_is_inside(module: Module) -> None:
    assert not set(module.name.split(".")) & FORBIDDEN_NAMES


@each_module
def test_files_are_short(module: Module) -> None:
    assert len(module.path.read_text("utf-8").splitlines()) <= 400


def test_functions_are_short() -> None:
    lengths = {
        name: (node.end_lineno or node.lineno) - node.lineno + 1
        for module in MODULES
        for name, node in module.functions()
    }
    assert {name: length for name, length in lengths.items() if length > 60} == {}
    assert statistics.median(lengths.values()) <= 9


@each_module
def test_functions_are_fully_annotated(module: Module) -> None:
    for name, node in module.functions():
        assert node.returns is not None, f"{name} has no return type"
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        extra = [argument for argument in (node.args.vararg, node.args.kwarg) if argument is not None]
        untyped = [item.arg for item in [*arguments, *extra] if item.annotation is None]
        assert set(untyped) <= {"self", "cls"}, f"{name}: {untyped}"


def test_options_are_named() -> None:
    """A misspelt option must fail where it is written, so hardly anything takes whatever comes."""
    functions = [(name, node) for module in MODULES for name, node in module.functions()]
    open_ended = [name for name, node in functions if node.args.kwarg is not None]
    assert len(open_ended) <= 0.02 * len(functions), open_ended
    assert not [name for name in open_ended if name.endswith("__init__")]


def public_definitions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    bodies: list[list[ast.stmt]] = [module.tree.body]
    while bodies:
        for node in bodies.pop():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
                yield node
                if isinstance(node, ast.ClassDef):
                    bodies.append(node.body)


@each_module
def test_everything_public_is_explained(module: Module) -> None:
    assert not module.tree.body or ast.get_docstring(module.tree), "the module"
    for node in public_definitions(module):
        overload = "overload" in {ast.unparse(decorator) for decorator in node.decorator_list}
        assert overload or ast.get_docstring(node), f"{node.name} in line {node.lineno}"


def test_architecture_md_draws_the_same_order() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    drawn = text.split("## Import order")[1].split("```")[1].strip().splitlines()
    assert [set(line.split(maxsplit=1)[1].replace("|", " ").split()) for line in reversed(drawn)] == [
        set(line) for line in LINES
    ]
