"""Wheels hold every file of the package, and those for one platform also its kernels, under the right tag."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "cifarlab"

sys.path.insert(0, str(ROOT / "scripts"))
import wheels  # noqa: E402


def test_the_wheel_holds_every_file_of_the_tree() -> None:
    """An ignored folder would be left out by git and by the build in silence."""
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    held = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert held == {path.relative_to(PACKAGE.parent).as_posix() for path in files}


@pytest.mark.parametrize("name", wheels.PLATFORMS)
def test_a_wheel_for_one_platform_adds_a_library_per_tier(name: str, tmp_path: Path, monkeypatch) -> None:
    def compiled(platform: wheels.Platform, folder: Path) -> list[Path]:
        files = [folder / f"{tier}{platform.ending}" for tier in platform.cpus]
        for file in files:
            file.write_text(file.name, "utf-8")
        return files

    monkeypatch.setattr(wheels, "compile_libraries", compiled)
    platform = wheels.PLATFORMS[name]
    built = wheels.build_wheel(name, tmp_path)
    first = built.read_bytes()
    assert built.name.endswith(f"-py3-none-{platform.tag}.whl")
    assert wheels.build_wheel(name, tmp_path).read_bytes() == first
    with zipfile.ZipFile(built) as files:
        inside = set(files.namelist())
        (metadata,) = (path for path in inside if path.endswith(".dist-info/WHEEL"))
        text = files.read(metadata).decode()
    libraries = {f"cifarlab/kernels/compiled/{tier}{platform.ending}" for tier in platform.cpus}
    assert {path for path in inside if "/compiled/" in path} == libraries
    assert {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()} < inside
    assert "Root-Is-Purelib: false" in text
    assert f"Tag: py3-none-{platform.tag}\n" in text


@pytest.mark.skipif(find_spec("ziglang") is None, reason="ziglang is not installed: pip install -e '.[wheels]'")
def test_compiled_libraries_export_the_kernels_and_need_the_c_library_alone(tmp_path: Path) -> None:
    """That of Linux on ARM, which is one file; the same bytes come out twice."""
    hashes = set()
    for number in ("1", "2"):
        (folder := tmp_path / number).mkdir()
        (library,) = wheels.compile_libraries(wheels.PLATFORMS["linux-aarch64"], folder)
        hashes.add(hashlib.sha256(library.read_bytes()).hexdigest())
    assert len(hashes) == 1
    dynamic = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
    needed = {line.split("[")[1].rstrip("]") for line in dynamic.splitlines() if "NEEDED" in line}
    assert needed == {"libc.so.6", "libm.so.6"}
    symbols = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
    exported = {line.split()[-1] for line in symbols.splitlines()}
    float32 = {name for name in wheels.build.NAMES if not name.endswith("_bf16")}
    assert float32 < exported
    assert exported <= {*wheels.build.NAMES, "lanes", "use_openmp"}
