"""The kernels of another kind of CPU, compiled for it and run by qemu-user: the ordinary tests then check their values.

    CIFARLAB_EMULATE=aarch64 python -m pytest tests/kernels                          compiled by GCC
    CIFARLAB_EMULATE=.../kernels/compiled/neon.so python -m pytest tests/kernels     those of a wheel

A program is linked with the kernels and reads calls from its standard input: for each the name, the arguments,
and the memory behind the tensors, which it writes back changed. Nothing is timed.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import torch

from cifarlab.kernels import build

VARIABLE = "CIFARLAB_EMULATE"
COMPILER, NM, EMULATOR = "aarch64-linux-gnu-g++", "aarch64-linux-gnu-nm", "qemu-aarch64"
SYSTEM = "/usr/aarch64-linux-gnu"  # its libraries
LONG, DOUBLE, NULL, TENSOR = range(4)
MOST_ARGUMENTS = 24

MAIN = """
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>
#include <omp.h>

extern "C" void GOMP_parallel(void (*)(void*), void*, unsigned, unsigned);
extern "C" void use_openmp(void*, void*, void*, void*, void*);

template <class T> T take() {
    T value;
    if (fread(&value, sizeof value, 1, stdin) != 1) exit(0);  // the tests have ended
    return value;
}

%(declarations)s
struct Kernel {
    const char* name;
    void (*function)();
};
static const Kernel KERNELS[] = {%(table)s};

// Longs and pointers go into registers of one kind and doubles into those of another, in order each, and a function
// does not see arguments that it has not asked for: so all are called alike.
typedef long (*Any)(%(longs)s, double, double);

int main() {
    use_openmp(nullptr, (void*)GOMP_parallel, (void*)omp_get_max_threads, (void*)omp_get_num_threads,
               (void*)omp_get_thread_num);
    for (;;) {
        std::string name(take<int64_t>(), ' ');
        if (fread(&name[0], 1, name.size(), stdin) != name.size()) return 1;
        long arguments[%(most)d] = {};
        double doubles[2] = {};
        std::vector<std::pair<char*, int64_t>> memory;
        int64_t count = take<int64_t>(), num_doubles = 0;
        for (int64_t i = 0, at = 0; i < count; ++i) {
            int64_t kind = take<int64_t>();
            if (kind == 0) arguments[at++] = take<int64_t>();
            if (kind == 1) doubles[num_doubles++] = take<double>();
            if (kind == 2) arguments[at++] = 0;
            if (kind == 3) {
                int64_t size = take<int64_t>();
                // behind it a page of another value: a kernel that reads beyond its tensor gets nonsense
                char* bytes = (char*)aligned_alloc(64, (size + 4096 + 63) / 64 * 64);
                memset(bytes, 0xff, size + 4096);
                if (size && fread(bytes, 1, size, stdin) != (size_t)size) return 1;
                memory.push_back({bytes, size}), arguments[at++] = (long)bytes;
            }
        }
        long result = 0;
        for (const Kernel& kernel : KERNELS)
            if (name == kernel.name) result = ((Any)kernel.function)(%(passed)s, doubles[0], doubles[1]);
        fwrite(&result, sizeof result, 1, stdout);
        for (auto& piece : memory) fwrite(piece.first, 1, piece.second, stdout), free(piece.first);
        fflush(stdout);
    }
}
"""


def is_asked_for() -> bool:
    """Whether the kernels are to be those of the emulated CPU."""
    return VARIABLE in os.environ


class Driver:
    """The program, running; `call` does what `build.call` does."""

    def __init__(self, folder: Path) -> None:
        emulator = shutil.which(EMULATOR)
        assert emulator and shutil.which(COMPILER), f"{VARIABLE} needs {COMPILER} and {EMULATOR} (Debian: qemu-user)"
        objects = _objects(folder)
        self.names = set(_exported(objects))
        program = _link(folder, objects, sorted(self.names))
        environment = {**os.environ, "OMP_NUM_THREADS": "2"}
        self._process = subprocess.Popen(
            [emulator, "-L", SYSTEM, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self.num_calls = 0

    def call(self, name: str, *arguments: torch.Tensor | float | None) -> None:
        """Run a kernel; tensors that it writes to have their new values afterwards."""
        self._run(name, arguments)

    def number(self, name: str) -> int:
        """Return what a function without arguments says."""
        return self._run(name, ())

    def close(self) -> None:
        """End the program."""
        stdin, stdout = self._pipes()
        stdin.close()
        stdout.close()
        self._process.wait()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None and self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def _run(self, name: str, arguments: Sequence[torch.Tensor | float | None]) -> int:
        assert name in self.names, name
        assert len(arguments) <= MOST_ARGUMENTS
        stdin, stdout = self._pipes()
        stdin.write(struct.pack("<q", len(name)) + name.encode() + struct.pack("<q", len(arguments)))
        tensors = [value for value in arguments if isinstance(value, torch.Tensor)]
        for value in arguments:
            if isinstance(value, torch.Tensor):
                data = _bytes(value)
                stdin.write(struct.pack("<qq", TENSOR, len(data)) + data.numpy().tobytes())
            elif value is None:
                stdin.write(struct.pack("<q", NULL))
            elif isinstance(value, float):
                stdin.write(struct.pack("<qd", DOUBLE, value))
            else:
                stdin.write(struct.pack("<qq", LONG, int(value)))
        stdin.flush()
        (result,) = struct.unpack("<q", _read(stdout, 8))
        for tensor in tensors:
            data = _bytes(tensor)
            if not len(data):
                continue
            found = torch.frombuffer(bytearray(_read(stdout, len(data))), dtype=torch.uint8)
            if not torch.equal(data, found):  # autograd takes what is written to for changed
                data.copy_(found)
        self.num_calls += 1
        return int(result)


def _read(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    assert len(data) == size, "the emulated program has crashed"
    return data


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The memory of a dense tensor, in its order, as uint8 that shares it."""
    flat = tensor.detach().as_strided((tensor.numel(),), (1,))  # whatever the order of its axes is
    return flat.view(torch.uint8) if tensor.numel() else torch.empty(0, dtype=torch.uint8)


def _objects(folder: Path) -> list[Path]:
    """The library of a wheel, or what the sources are compiled to."""
    if (library := Path(os.environ[VARIABLE])).is_file():
        return [library.absolute()]
    for source in build.SOURCES:
        subprocess.run([COMPILER, *build.FLAGS, "-c", str(source)], cwd=folder, check=True, timeout=600)
    return [folder / f"{source.stem}.o" for source in build.SOURCES]


def _exported(objects: Sequence[Path]) -> list[str]:
    """Names that are not mangled, which are those of the kernels."""
    command = [NM, "--defined-only", *(["-D"] if objects[0].suffix == ".so" else []), *map(str, objects)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    names = [row[2] for row in rows if len(row) == 3 and row[1] == "T"]
    return [name for name in names if not name.startswith("_Z") and name != "use_openmp"]


def _link(folder: Path, objects: Sequence[Path], names: Sequence[str]) -> Path:
    text = MAIN % {
        "declarations": "\n".join(f'extern "C" void {name}();' for name in names),
        "table": ", ".join(f'{{"{name}", {name}}}' for name in names),
        "longs": ", ".join(["long"] * MOST_ARGUMENTS),
        "passed": ", ".join(f"arguments[{i}]" for i in range(MOST_ARGUMENTS)),
        "most": MOST_ARGUMENTS,
    }
    (folder / "main.cpp").write_text(text)
    command = [COMPILER, "-O2", "-fopenmp", "main.cpp", *map(str, objects), "-o", "driver"]
    subprocess.run([*command, f"-Wl,-rpath,{objects[0].parent}"], cwd=folder, check=True, timeout=600)
    return folder / "driver"
