from __future__ import annotations

import re

import pytest

from cifarlab import errors
from cifarlab.errors import CifarlabError, InterruptedRunError, MissingExtraError, cause, translated, unknown
from cifarlab.language import speak

CODES = {
    "CifarlabError": 1,
    "UsageError": 2,
    "RecipeError": 2,
    "DataError": 3,
    "AmbiguousDataError": 3,
    "CheckpointError": 4,
    "MachineError": 5,
    "MissingExtraError": 5,
    "NoKernelsError": 5,
    "OtherMachineError": 5,
    "DivergedError": 6,
    "RunInUseError": 7,
    "PartialError": 8,
}


def classes() -> dict[str, type[CifarlabError]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, CifarlabError)
    }


def test_every_error_has_the_exit_code_of_the_design() -> None:
    assert {name: kind.exit_code for name, kind in classes().items() if name in CODES} == CODES
    assert set(classes()) == {*CODES, "InterruptedRunError"}


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = re.findall(r"^([│ ├└─]*)(\w+Error) +(\d+) ", errors.__doc__ or "", re.MULTILINE)
    assert {name for _, name, _ in drawn} == set(classes())
    parents: dict[int, str] = {}
    for branch, name, code in drawn:
        depth = len(branch) // 4
        parents[depth] = name
        kind = classes()[name]
        if depth:
            assert kind.__bases__ == (classes()[parents[depth - 1]],)
        assert int(code) == (130 if name == "InterruptedRunError" else kind.exit_code)


@pytest.mark.parametrize(("signal_number", "code"), [(2, 130), (15, 143)])
def test_an_interrupted_run_exits_as_shells_expect(signal_number: int, code: int) -> None:
    error = InterruptedRunError("saved", signal_number)
    assert error.exit_code == code
    assert str(error) == "saved"


def test_a_missing_extra_says_how_to_install_it() -> None:
    text = str(MissingExtraError("timm", "vision"))
    assert "timm" in text
    assert "pip install 'cifarlab[vision]'" in text


def test_unknown_names_the_nearest_first() -> None:
    text = unknown("model", "resnet19", ["vgg", "resnet18", "resnet152", "googlenet"])
    assert text == "Unknown model 'resnet19'. Did you mean resnet18 or resnet152?"


def test_unknown_lists_everything_when_nothing_is_near() -> None:
    assert unknown("split", "qqq", ["val", "test", "train"]) == "Unknown split 'qqq'. Known: test, train, val."


def test_unknown_escapes_what_it_repeats() -> None:
    assert "\x1b" not in unknown("model", "\x1b[31m", ["a"])


def test_what_others_say_is_translated_where_it_is_known() -> None:
    speak("zh")
    try:
        assert cause(FileNotFoundError(2, "No such file or directory", "x")) == "没有这个文件或文件夹"
        assert cause(OSError(999, "Unheard of")) == "Unheard of"
        assert unknown("class", "cta", ["cat"]) == "没有 'cta' 这个类别。是不是想用 cat？"
    finally:
        speak("en")


@pytest.mark.parametrize("text", ["a of b", "a of b of c", "b", ""])
def test_in_english_nothing_changes(text: str) -> None:
    assert translated(text, ("{one} of {other}", "b")) == text
