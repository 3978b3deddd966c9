"""Run the kernels' tests once for each kind of CPU that this machine can be, imitate or emulate, and with sanitizers.

    python scripts/kernel_tests.py [tiers] [arm] [sanitizers]

tiers: each tier below this CPU's own, in a process of its own; the own one is what `make test` runs. arm: NEON, by an
emulator. sanitizers: this CPU's kernels, compiled with checks of addresses and undefined behaviour; first a planted
overrun has to be found. Prints the number of tests of each, and ends with exit code 1 if any failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cifarlab.machine.tier import VARIABLE, X86, tier

ROOT = Path(__file__).parent.parent
TESTS = ("tests/kernels/ops", "tests/kernels/layers")
# The largest batches are left out where everything takes ten times as long: they go through the same code.
SMALL = ("tests/kernels/ops", "-k", "not 70 and not 40 and not 35")
# A script, since the options have to come after those of the build: with -O3 and all checks one file takes a minute.
SANITIZED = '#!/bin/sh\nexec g++ "$@" -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -g1\n'
PLANTED = ("c < channels; c += LANES", "c <= channels; c += LANES")
"""In the loops over the channels of a pixel: reads and writes one register beyond the last pixel of a map."""


def run(name: str, tests: tuple[str, ...], environment: dict[str, str]) -> bool:
    """Run tests with these settings; prints how many passed and how long they took."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", *tests]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()[-300:]]
    print(f"{name}: {lines[-1]} [{time.perf_counter() - start:.0f} s]", flush=True)
    if done.returncode:
        print("\n".join(lines[-60:]), done.stderr[-3000:], flush=True)
    return done.returncode == 0


def lower_tiers() -> bool:
    """Each tier below the CPU's own."""
    own = tier()
    lower = X86[1 : X86.index(own)] if own in X86 else ()
    # every one, also after a failure
    return not [name for name in lower if not run(f"tier {name}", TESTS, {VARIABLE: name})]


def arm() -> bool:
    """NEON, by qemu-user."""
    return run("NEON, emulated", SMALL, {"CIFARLAB_EMULATE": "aarch64"})


def sanitizers() -> bool:
    """This CPU's kernels with sanitizers, and once with an overrun."""
    libraries = [_library(name) for name in ("libasan.so", "libubsan.so")]
    with tempfile.TemporaryDirectory() as folder:
        compiler = Path(folder) / "sanitized-g++"
        compiler.write_text(SANITIZED, "utf-8")
        compiler.chmod(0o700)
        settings = {
            "CXX": str(compiler),
            "LD_PRELOAD": ":".join(libraries),
            "ASAN_OPTIONS": "detect_leaks=0",  # Python and torch keep much until the process ends
            "XDG_CACHE_HOME": folder,
        }
        return _finds_a_planted_overrun(Path(folder), settings) and run("sanitizers", SMALL, settings)


def _library(name: str) -> str:
    command = ["g++", f"-print-file-name={name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _finds_a_planted_overrun(folder: Path, settings: dict[str, str]) -> bool:
    """Whether a test of kernels that write beyond a map ends with a report of the sanitizer."""
    source = folder / "planted" / "cifarlab"
    shutil.copytree(ROOT / "src" / "cifarlab", source)
    file = source / "kernels" / "cpp" / "norm_relu.cpp"
    for other in file.parent.glob("winograd*.cpp"):  # not needed here, and slow to compile with sanitizers
        other.unlink()
    text = file.read_text("utf-8")
    assert PLANTED[0] in text
    file.write_text(text.replace(*PLANTED), "utf-8")
    # -s: the sanitizer ends the process, and what pytest has captured would be lost with it
    test = ["tests/kernels/ops/test_norm_relu.py", "-x", "-s", "-o", f"pythonpath={source.parent} benchmarks tests"]
    command = [sys.executable, "-m", "pytest", "-q", *test]
    environment = {**os.environ, **settings, "PYTHONPATH": str(source.parent)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    found = done.returncode != 0 and "AddressSanitizer" in done.stdout + done.stderr
    print(f"planted overrun: {'found' if found else 'NOT found'}", flush=True)
    if not found:
        print(done.stdout[-2000:], done.stderr[-2000:], flush=True)
    return found


if __name__ == "__main__":
    kinds = {"tiers": lower_tiers, "arm": arm, "sanitizers": sanitizers}
    wanted = sys.argv[1:] or list(kinds)
    failed = [name for name in wanted if not kinds[name]()]
    sys.exit(bool(failed))
