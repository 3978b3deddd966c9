"""What was estimated is known again on the same machine, and a damaged file is no obstacle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cifarlab.machine import estimates as module
from cifarlab.machine.estimates import estimates, remember


def test_estimates_are_kept_beside_each_other(tmp_path: Path) -> None:
    assert estimates(tmp_path) == {}
    remember("quick", 60.0, tmp_path)
    remember("speed", 400.5, tmp_path)
    remember("quick", 55.0, tmp_path)
    assert estimates(tmp_path) == {"quick": 55.0, "speed": 400.5}


def test_another_machine_has_estimates_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember("quick", 60.0, tmp_path)
    monkeypatch.setattr(module, "num_threads", lambda: 64)
    assert estimates(tmp_path) == {}
    remember("quick", 5.0, tmp_path)
    monkeypatch.undo()
    assert estimates(tmp_path) == {"quick": 60.0}


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"quick": "soon"}}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "estimates.json").write_text(text)
    assert estimates(tmp_path) == {}
    remember("quick", 60.0, tmp_path)
    assert estimates(tmp_path) == {"quick": 60.0}
    assert len(json.loads((tmp_path / "estimates.json").read_text())) == 1
