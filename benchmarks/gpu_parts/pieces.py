"""Pieces of work that fit into an allotted time, and the JSON files that remember which are done."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cifarlab.errors import CifarlabError, DataError
from cifarlab.files import write_atomic


@dataclass(frozen=True)
class Settings:
    """What every part needs to know."""

    data: str
    recipes: tuple[str, ...]
    num_seeds: int
    peers: Path | None
    epochs: float
    out: Path
    device: str
    tiny: bool


@dataclass(frozen=True)
class Record:
    """A result. `group` is what it is averaged with, `values` numbers by a name with its unit."""

    key: str
    group: str
    values: dict[str, float]


@dataclass(frozen=True)
class Piece:
    """Work that leaves the record `key`, and maybe others. It is told how many seconds are left.

    It raises TimeoutError when it had to stop, and is done anew or continued by the next call. After a CifarlabError
    the next piece has its turn.
    """

    key: str
    work: Callable[[float], list[Record]]


class Store:
    """The records of one part, in a file that is whole after every piece."""

    def __init__(self, path: Path, machine: dict[str, Any]) -> None:
        self.path, self.machine = path, machine
        self.records: dict[str, Record] = {}
        if path.exists():
            self._read()

    def add(self, records: Iterable[Record]) -> None:
        """Keep records and write the file."""
        self.records |= {record.key: record for record in records}
        values = {"machine": self.machine, "records": [asdict(record) for record in self.records.values()]}
        write_atomic(self.path, json.dumps(values, indent=2) + "\n")

    def _read(self) -> None:
        """Take over what earlier calls measured; raises DataError where that was another machine."""
        machine, records = read(self.path)
        if machine != self.machine:
            raise DataError(
                f"{self.path} was measured on another machine or with other versions.\n"
                f"Then: {machine}, now: {self.machine}. Choose another --out."
            )
        self.records = {record.key: record for record in records}


def read(path: Path) -> tuple[dict[str, Any], list[Record]]:
    """The machine and the records of a part's file; raises DataError when it is none."""
    try:
        values = json.loads(path.read_text("utf-8"))
        return values["machine"], [Record(**record) for record in values["records"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no results of this benchmark: {error}. Choose another --out.") from error


@dataclass
class Budget:
    """The time that a call may take."""

    seconds: float
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds; negative when it is over."""
        return self.seconds - (time.monotonic() - self.started)


def run_pieces(pieces: list[Piece], store: Store, budget: Budget) -> list[str]:
    """Do what is not done yet while the time lasts; returns the keys that are left.

    A piece is begun only when the longest one of this call would still fit.
    """
    longest, left = 0.0, []
    for piece in pieces:
        if piece.key in store.records:
            continue
        if budget.left <= longest:
            left.append(piece.key)
            continue
        print(f"{store.path.stem}: {piece.key} ({budget.left:.0f} s left)", flush=True)
        start = time.monotonic()
        try:
            store.add(piece.work(budget.left))
        except (TimeoutError, CifarlabError) as error:
            print(f"not finished: {error}", flush=True)
            left.append(piece.key)
        longest = max(longest, time.monotonic() - start)
    return left
