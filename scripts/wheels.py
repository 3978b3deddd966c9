"""Build the wheels: for each platform one that brings the CPU kernels, and one for all others, without them.

    python scripts/wheels.py [linux-x86_64] [linux-aarch64] [windows-x86_64] [macos-arm64] [pure] [--out dist]

The kernels are compiled for every tier of the platform's CPUs by the clang of the package ziglang, which has what other
systems' programs need. They use no functions of the C++ library, so the C library is all that they are linked with; on
Linux it is that of glibc 2.28. The same source gives the same bytes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.wheel import WheelBuilder

from cifarlab.kernels import build

ROOT = Path(__file__).parent.parent


class Platform(NamedTuple):
    """A system and a kind of CPU."""

    target: str
    """What zig calls it."""
    tag: str
    """What pip calls it."""
    ending: str
    """Of libraries."""
    cpus: dict[str, str]
    """Zig's name for the least CPU of each tier that has a library of its own."""


X86 = {"avx2": "x86_64_v3", "avx512": "x86_64_v4", "avx512bf16": "x86_64_v4+avx512bf16"}

PLATFORMS = {
    "linux-x86_64": Platform("x86_64-linux-gnu.2.28", "manylinux_2_28_x86_64", ".so", X86),
    "linux-aarch64": Platform("aarch64-linux-gnu.2.28", "manylinux_2_28_aarch64", ".so", {"neon": "baseline"}),
    "windows-x86_64": Platform("x86_64-windows-gnu", "win_amd64", ".dll", X86),
    "macos-arm64": Platform("aarch64-macos.11.0", "macosx_11_0_arm64", ".dylib", {"neon": "apple_m1"}),
}
PURE = "pure"


class PlatformWheel(WheelBuilder):
    """A wheel with libraries of one platform beside what the wheel for all has."""

    def __init__(self, tag: str, libraries: Iterable[Path]) -> None:
        super().__init__(str(ROOT))
        self.tag = f"py3-none-{tag}"
        folder = build.BUNDLED.relative_to(ROOT / "src")
        self.libraries = {str(file): (folder / file.name).as_posix() for file in libraries}

    def get_default_build_data(self) -> dict[str, Any]:
        """What a hook of the build would otherwise say."""
        files = {**super().get_default_build_data(), "pure_python": False, "tag": self.tag}
        return {**files, "force_include": self.libraries}


def compile_libraries(platform: Platform, folder: Path) -> list[Path]:
    """Compile the kernels for every tier of a platform; returns a library for each, TIER.so or with another ending."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda tier: _compile(platform, tier, folder), platform.cpus))


def _compile(platform: Platform, tier: str, folder: Path) -> Path:
    library, objects = f"{tier}{platform.ending}", [f"{tier}-{source.stem}.o" for source in build.SOURCES]
    cpu = f"-mcpu={platform.cpus[tier]}"
    for source, found in zip(build.SOURCES, objects, strict=True):
        _zig(folder, "c++", "-target", platform.target, cpu, *build.FLAGS, "-c", str(source), "-o", found)
    # by the driver of C, which does not link the library of C++
    _zig(folder, "cc", "-target", platform.target, "-shared", "-s", *objects, "-o", library)
    return folder / library


def _zig(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "ziglang", *arguments], cwd=folder, check=True)


def build_wheel(name: str, out: Path) -> Path:
    """Build the wheel of a platform, or PURE, into a folder."""
    if name == PURE:
        (path,) = WheelBuilder(str(ROOT)).build(directory=str(out), versions=["standard"])
        return Path(path)
    platform = PLATFORMS[name]
    with tempfile.TemporaryDirectory() as folder:
        libraries = compile_libraries(platform, Path(folder))
        (path,) = PlatformWheel(platform.tag, libraries).build(directory=str(out), versions=["standard"])
        return Path(path)


def main() -> None:
    """Build what is asked for, or all, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("platforms", nargs="*", choices=[*PLATFORMS, PURE, []], default=[])
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    for name in options.platforms or [*PLATFORMS, PURE]:
        wheel = build_wheel(name, options.out)
        print(f"{wheel.stat().st_size / 1e6:.2f} MB  {wheel}", flush=True)


if __name__ == "__main__":
    main()
