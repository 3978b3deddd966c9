"""What our own process asks of the system, and a program that uses the library does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cifarlab.machine import process

HOST = """
import torch
from cifarlab.machine import process
process.keep_freed_memory = None  # whoever calls it fails
torch.set_num_threads(3)
import cifarlab
run = cifarlab.train(cifarlab.load_recipe({recipe!r}), out={out!r})
cifarlab.evaluate(run)
classifier = cifarlab.Classifier.load(run.path)
print(torch.get_num_threads(), classifier.runtime.threads)
"""


def test_n58_a_host_keeps_its_threads_and_its_memory(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'name = "tiny"\n[data]\nsource = "sample"\n[model]\nname = "simple-cnn"\n[training]\nepochs = 0.05\n'
        '[runtime]\ndevice = "cpu"\nprecision = "fp32"\nthreads = 2\ntensorboard = false\n'
    )
    program = HOST.format(recipe=str(recipe), out=str(tmp_path / "runs"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("3 3\n", 0), done.stderr


def test_n58_our_own_process_is_set_up_before_torch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(process, "keep_freed_memory", lambda: True)
    monkeypatch.setattr(process, "num_cores", lambda: 5)
    process.take_over()
    assert (os.environ["GOMP_SPINCOUNT"], os.environ["OMP_NUM_THREADS"]) == (process.SPIN_COUNT, "5")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    process.take_over()
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_memory_is_kept_where_there_is_a_glibc() -> None:
    program = "from cifarlab.machine import process; print(process.keep_freed_memory())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    wanted = (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc") if sys.platform == "linux" else False
    assert done.stdout == f"{wanted}\n"


def test_a_system_may_not_say_how_much_memory_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (process.memory_bytes() or 0) > 2**28
    monkeypatch.delattr(os, "sysconf")
    assert process.memory_bytes() is None
