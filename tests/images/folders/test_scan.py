"""One walk through a folder: what is found, what is left out, which links are followed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cifarlab.errors import DataError
from cifarlab.images.folders import scan as module
from cifarlab.images.folders.scan import Folder, Tree, scan
from cifarlab.images.source import HIDDEN, NOT_PICTURES, OURS, SYSTEM
from cifarlab.images.words import UNREAD


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def names(tree: Tree) -> list[str]:
    return [name for folder in tree.top.walk() for name in folder.names()]


def test_everything_is_sorted_by_what_it_is(tmp_path: Path) -> None:
    root = write(
        tmp_path / "data", "b/2.PNG", "b/10.jpg", "a/c/1.tiff", "b/x.heic", "b/notes.txt", ".a.png", "Thumbs.db"
    )
    write(root, "runs/quick/recipe.toml", "runs/quick/1.png", "@eaDir/1.png", "b/no_suffix", ".hidden/deep/1.png")
    tree = scan(root)
    assert names(tree) == ["a/c/1.tiff", "b/10.jpg", "b/2.PNG"]
    assert tree.left_out == {
        UNREAD[".heic"]: ["b/x.heic"],
        NOT_PICTURES: ["b/no_suffix", "b/notes.txt"],
        HIDDEN: [".a.png", ".hidden"],
        SYSTEM: ["@eaDir", "Thumbs.db"],
        OURS: ["runs/quick"],
    }
    found = {folder.name: folder.num_pictures for folder in tree.top.walk()}
    assert found == {"": 3, "a": 1, "a/c": 1, "b": 2, "runs": 0}
    inner = tree.top.find("a/c/")
    assert isinstance(inner, Folder) and inner.relative_to(tree.top) == "a/c" and inner.basename == "c"
    assert tree.top.find("a/d") is None and tree.top.find("") is tree.top


def test_the_root_may_be_called_anything(tmp_path: Path) -> None:
    root = write(tmp_path / ".cache" / "@eaDir", "a/1.png", "recipe.toml")
    assert names(scan(root)) == ["a/1.png"]


def test_n22_links_that_leave_the_folder_are_followed_when_asked(tmp_path: Path) -> None:
    pool = write(tmp_path / "pool", "cat/1.png", "cat/2.png", "notes.txt")
    root = write(tmp_path / "data", "train/dog/1.png")
    (root / "train" / "cat").symlink_to(pool / "cat")
    (root / "train" / "dog" / "2.png").symlink_to(pool / "cat" / "2.png")
    (root / "notes.txt").symlink_to(pool / "notes.txt")
    tree = scan(root)
    assert names(tree) == ["train/dog/1.png"]
    assert [name for name, _ in tree.refused] == ["train/cat", "train/dog/2.png"]
    assert tree.left_out == {NOT_PICTURES: ["notes.txt"]}, "no link to worry about"
    with pytest.raises(DataError, match=r"train/cat leads out of the folder, to .*(.|\n)*--follow-links"):
        tree.refuse_links()
    tree = scan(root, follow_links=True)
    tree.refuse_links()
    assert names(tree) == ["train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "train/dog/2.png"]


@pytest.mark.parametrize("follow_links", [False, True])
def test_d21_links_that_lead_nowhere_or_in_a_circle(tmp_path: Path, follow_links: bool) -> None:
    root = write(tmp_path / "data", "a/1.png", "b/1.png")
    links = {"a/gone.png": "nothing.png", "a/folder": "nothing", "a/self.png": "self.png", "a/up": "..", "b/here": "."}
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "a" / "to_b").symlink_to(root / "b")
    (root / "b" / "to_a").symlink_to(root / "a")
    (root / "a" / "gone.txt").symlink_to("nothing.txt")
    tree = scan(root, follow_links=follow_links)
    reasons = dict(tree.refused)
    assert reasons["a/up"] == reasons["b/here"] == reasons["a/to_b/to_a"] == reasons["b/to_a/to_b"] == module.CIRCLE
    assert {name for name, reason in reasons.items() if "nowhere" in reason} >= {"a/gone.png", "a/folder", "a/self.png"}
    assert set(names(tree)) == {"a/1.png", "b/1.png", "a/to_b/1.png", "b/to_a/1.png"}
    assert "a/gone.txt" in tree.left_out[NOT_PICTURES]


def test_links_to_folders_that_multiply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LINKED_FOLDERS", 1000)
    for level in range(20):
        folder = tmp_path / "data" / str(level)
        folder.mkdir(parents=True)
        for each in ("a", "b"):
            (folder / each).symlink_to(Path("..") / str(level + 1))
    with pytest.raises(DataError, match="more than 1,000 links to folders"):
        scan(tmp_path / "data")


def test_files_that_are_not_regular_are_not_pictures(tmp_path: Path) -> None:
    root = write(tmp_path / "data", "a/1.png")
    os.mkfifo(root / "a" / "2.png")
    (root / "a" / "3.png").mkdir()
    tree = scan(root)
    assert names(tree) == ["a/1.png"] and tree.left_out == {NOT_PICTURES: ["a/2.png"]}


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "data", "a/1.png", "b/1.png")
    list_folder = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("/b"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return list_folder(path)

    monkeypatch.setattr(module.os, "scandir", refuse)
    with pytest.raises(DataError, match=r"Cannot list .*data: Permission denied: .*data/b\."):
        scan(root)
