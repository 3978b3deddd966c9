"""The wheel holds every file of the package: an ignored folder would be left out by git and by the build in silence."""

from __future__ import annotations

from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "cifarlab"


def test_the_wheel_holds_every_file_of_the_tree() -> None:
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    held = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert held == {path.relative_to(PACKAGE.parent).as_posix() for path in files}
