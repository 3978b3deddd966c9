"""Files that are whole or absent, when the disk fails and when the process dies."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from cifarlab import files
from cifarlab.errors import MachineError, RunInUseError

FAULTS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES]


def failing(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def fail_at(monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
    target = os if call == "fsync" else Path
    monkeypatch.setattr(target, call, failing(code))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# write_atomic


@pytest.mark.parametrize("content", ["text with ümlaut\n", b"\0bytes\r\n", ""])
def test_write_atomic_writes_bytes_as_they_are(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "new" / "folder" / "file"
    files.write_atomic(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(path.parent) == {"file"}


def test_write_atomic_replaces(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_atomic(path, "a much longer old content")
    files.write_atomic(path, "new")
    assert path.read_text() == "new"


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What is flushed to the disk, in this order: the name and, of a file, how much of it has left the process."""
    found: list[tuple[str, int]] = []

    def fsync(descriptor: int) -> None:
        path, status = Path(f"/proc/self/fd/{descriptor}").readlink(), os.fstat(descriptor)
        found.append((path.name, 0 if stat.S_ISDIR(status.st_mode) else status.st_size))

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_a_file_is_flushed_whole_under_its_temporary_name_and_then_its_folder(
    tmp_path: Path, flushed: list[tuple[str, int]]
) -> None:
    files.write_atomic(tmp_path / "file", b"x" * 1000)
    assert flushed == [(f".tmp-{os.getpid()}-file", 1000), (tmp_path.name, 0)]


def test_a_folder_is_flushed_with_its_files_and_then_the_folder_that_it_lies_in(
    tmp_path: Path, flushed: list[tuple[str, int]]
) -> None:
    with files.atomic_folder(tmp_path / "last") as folder:
        (folder / "a").write_bytes(b"x" * 1000)
    assert flushed == [("a", 1000), (folder.name, 0), (tmp_path.name, 0)]


@pytest.mark.parametrize("code", FAULTS)
@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_t15_a_failing_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with monkeypatch.context() as patch:
        fail_at(patch, call, code)
        with pytest.raises(MachineError, match="unchanged") as caught:
            files.write_atomic(path, "new")
    assert os.strerror(code) in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == {"file"}


def test_t14_a_full_device_is_a_machine_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full takes the write and refuses it when it is flushed, as a full disk does."""
    path = tmp_path / "file"
    path.write_text("old")
    real_open = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode: real_open(Path("/dev/full"), mode))
    with pytest.raises(MachineError, match="No space left"):
        files.write_atomic(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_t31_a_file_has_the_mode_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        files.write_atomic(tmp_path / "file", "x")
        with files.atomic_folder(tmp_path / "folder") as folder:
            (folder / "inside").write_text("x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~umask


@pytest.mark.parametrize("below", ["file/child", "file", "n" * 300])
def test_c09_a_place_that_cannot_be_written_is_a_machine_error(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").mkdir() if below == "file" else (tmp_path / "file").write_text("x")
    with pytest.raises(MachineError):
        files.write_atomic(tmp_path / below, "x")


# atomic_folder


def make_folder(path: Path, content: str) -> None:
    with files.atomic_folder(path) as folder:
        (folder / "a").write_text(content)
        (folder / "b").write_bytes(b"2")


def test_atomic_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last"
    with files.atomic_folder(path) as folder:
        (folder / "a").write_text("new")
        assert not path.exists()
    assert (path / "a").read_text() == "new"
    assert names(path.parent) == {"last"}


def test_atomic_folder_replaces_an_old_one(tmp_path: Path) -> None:
    make_folder(tmp_path / "last", "old")
    with files.atomic_folder(tmp_path / "last") as folder:
        (folder / "c").write_text("new")
        assert (tmp_path / "last" / "a").read_text() == "old"
    assert names(tmp_path / "last") == {"c"}
    assert names(tmp_path) == {"last"}


def test_atomic_folder_vanishes_when_its_block_fails(tmp_path: Path) -> None:
    make_folder(tmp_path / "last", "old")
    with pytest.raises(ZeroDivisionError), files.atomic_folder(tmp_path / "last") as folder:
        (folder / "a").write_text("new")
        _ = 1 / 0
    assert (tmp_path / "last" / "a").read_text() == "old"
    assert names(tmp_path) == {"last"}


@pytest.mark.parametrize("failing_call", range(1, 5))
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_t15_a_failing_disk_leaves_a_whole_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, failing_call: int
) -> None:
    """Whichever flush or rename fails, the folder holds the old content or the new, complete."""
    make_folder(tmp_path / "last", "old")
    target = os if call == "fsync" else Path
    real, count = getattr(target, call), 0

    def fail_once(*arguments: object) -> object:
        nonlocal count
        count += 1
        if count == failing_call:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*arguments)

    monkeypatch.setattr(target, call, fail_once)
    if call == "rename" and failing_call > 2:
        make_folder(tmp_path / "last", "new")  # there are two renames: old aside, new in place
    else:
        with pytest.raises(MachineError):
            make_folder(tmp_path / "last", "new")
    monkeypatch.undo()
    kept = (tmp_path / "last" / "a").read_text()
    assert kept == ("new" if failing_call == 4 or (call == "rename" and failing_call == 3) else "old")
    assert (tmp_path / "last" / "b").read_bytes() == b"2"
    assert names(tmp_path) == {"last"}


CRASH = """
    import os, sys
    from pathlib import Path
    from cifarlab import files
    folder, fatal = Path(sys.argv[1]), int(sys.argv[2])
    count = 0
    def counted(real):
        def call(*arguments, **keywords):
            global count
            count += 1
            if count == fatal:
                os._exit(9)
            return real(*arguments, **keywords)
        return call
    for owner, name in [(os, "fsync"), (Path, "rename"), (Path, "mkdir"), (files.shutil, "rmtree")]:
        setattr(owner, name, counted(getattr(owner, name)))
    with files.atomic_folder(folder / "last") as new:
        (new / "a").write_text("new")
        (new / "b").write_bytes(b"2")
"""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )


def test_t02_killed_at_any_call_the_folder_comes_back_whole(tmp_path: Path) -> None:
    finished = False
    for fatal in range(1, 20):
        folder = tmp_path / str(fatal)
        folder.mkdir()
        make_folder(folder / "last", "old")
        finished = run(CRASH, str(folder), str(fatal)).returncode == 0
        files.remove_leftovers(folder)
        assert names(folder) == {"last"}
        assert (folder / "last" / "a").read_text() in {"old", "new"}
        assert (folder / "last" / "b").read_bytes() == b"2"
        if finished:
            break
    assert finished
    assert (folder / "last" / "a").read_text() == "new"


# remove_leftovers


def test_remove_leftovers_takes_temporary_names_only(tmp_path: Path) -> None:
    (tmp_path / ".tmp-1-file").write_text("half")
    (tmp_path / ".tmp-folder" / "deep").mkdir(parents=True)
    (tmp_path / "kept").write_text("kept")
    (tmp_path / ".hidden").write_text("kept")
    files.remove_leftovers(tmp_path)
    assert names(tmp_path) == {"kept", ".hidden"}
    files.remove_leftovers(tmp_path / "absent")


def test_t02_what_was_set_aside_is_put_back(tmp_path: Path) -> None:
    """A process was killed between the two renames: only the old folder is under a known name."""
    make_folder(tmp_path / ".tmp-old-last", "old")
    files.remove_leftovers(tmp_path)
    assert (tmp_path / "last" / "a").read_text() == "old"
    make_folder(tmp_path / ".tmp-old-last", "older")
    files.remove_leftovers(tmp_path)
    assert (tmp_path / "last" / "a").read_text() == "old"
    assert names(tmp_path) == {"last"}


# lock

HOLD = """
    import sys, time
    from pathlib import Path
    from cifarlab.files import lock
    with lock(Path(sys.argv[1]), wait=False):
        print("held", flush=True)
        sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(path)],
        env={**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def end(holder: subprocess.Popen[str], *, by_signal: bool) -> None:
    if by_signal:
        holder.send_signal(signal.SIGKILL)
    holder.communicate()


@pytest.mark.parametrize("by_signal", [True, False], ids=["killed", "ended"])
def test_t23_d27_a_lock_is_exclusive_and_dies_with_its_holder(tmp_path: Path, by_signal: bool) -> None:
    path = tmp_path / "run" / ".lock"
    holder = hold(path)
    try:
        with pytest.raises(RunInUseError, match="in use by another process"), files.lock(path, wait=False):
            pass
    finally:
        end(holder, by_signal=by_signal)
    with files.lock(path, wait=False), pytest.raises(RunInUseError), files.lock(path, wait=False):
        pass
    with files.lock(path, wait=True):
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_d30_a_file_system_without_locks_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(code))
    with files.lock(tmp_path / ".lock", wait=False):
        assert "no locks" in caplog.text


def test_n65_a_lock_that_fails_is_the_machines_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.EIO))
    with pytest.raises(MachineError, match="Input/output"), files.lock(tmp_path / ".lock", wait=False):
        pass


# sha256


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_sha256_agrees_with_hashlib(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    assert files.sha256(tmp_path / "file") == hashlib.sha256(b"x" * size).hexdigest()


@pytest.mark.parametrize("number", FAULTS)
def test_n65_clearing_leftovers_on_a_failing_disk_is_the_machines_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (tmp_path / ".tmp-old-last").mkdir()
    monkeypatch.setattr(Path, "rename", failing(number))
    with pytest.raises(MachineError, match=os.strerror(number)):
        files.remove_leftovers(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE])
def test_a_full_or_failing_disk_is_the_machine_s_fault(number: int) -> None:
    assert files.is_machine_fault(OSError(number, "x"))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL])
def test_a_wrong_name_is_not_the_machine_s_fault(number: int) -> None:
    assert not files.is_machine_fault(OSError(number, "x"))


# what Windows and macOS do otherwise


def in_use(*_: object, **__: object) -> None:
    error = PermissionError(errno.EACCES, "The process cannot access the file")
    error.winerror = 32  # type: ignore[attr-defined]
    raise error


def test_a_file_that_is_in_use_for_a_moment_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, refusals = Path.replace, [None] * 3

    def replace(*arguments: Path) -> object:
        return in_use() if refusals and not refusals.pop() else real(*arguments)

    monkeypatch.setattr(Path, "replace", replace)
    files.write_atomic(tmp_path / "metrics.csv", "new")
    assert (tmp_path / "metrics.csv").read_text() == "new" and not refusals


def test_a_file_that_stays_in_use_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(Path, "replace", in_use)
    with pytest.raises(MachineError, match=r"metrics\.csv.*\n.*unchanged.*close it there"):
        files.write_atomic(tmp_path / "metrics.csv", "new")
    assert names(tmp_path) == set()
    monkeypatch.setattr(Path, "unlink", in_use)
    assert not files.remove_unless_in_use(tmp_path / "file")


def test_a_folder_that_cannot_be_opened_is_not_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", failing(errno.EACCES))
    files.flush_folder(tmp_path)


@pytest.mark.parametrize("takes_it", [True, False])
def test_macos_is_asked_to_flush_the_disk_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flushed: list[tuple[str, int]], takes_it: bool
) -> None:
    asked: list[int] = []

    def control(descriptor: int, command: int) -> None:
        asked.append(command)
        if not takes_it:
            failing(errno.ENOTSUP)()  # what a network drive says

    monkeypatch.setattr(files, "_FULL_FLUSH", 51)
    monkeypatch.setattr(fcntl, "fcntl", control)
    files.write_atomic(tmp_path / "file", b"x")
    assert asked == [51, 51] and len(flushed) == (0 if takes_it else 2)


@pytest.mark.parametrize(
    "name",
    ["con", "AUX.png", "nul.tar.gz", "com1", "LPT9.x", "con .png", "cat.", "cat ", "a:b", "a\\b", "what?", "a\n", 'a"'],
)
def test_names_that_windows_does_not_have(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not files.is_portable(name) and files.is_possible(name)
    monkeypatch.setattr(sys, "platform", "win32")
    assert not files.is_possible(name)


@pytest.mark.parametrize("name", ["cat", "console", "com10", "auxiliary.png", ".tmp-1-a", "猫", "a.b c.png", "com"])
def test_names_that_every_system_has(name: str) -> None:
    assert files.is_portable(name)
