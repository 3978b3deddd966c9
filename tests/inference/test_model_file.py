"""Checkpoints and model files under damage."""

from __future__ import annotations

import hashlib
import json
import pathlib
import random
import shutil

import pytest
import safetensors.torch
import torch

from cifarlab.errors import CheckpointError, MachineError
from cifarlab.inference import model_file as model_file_module
from cifarlab.inference.model_file import ModelCard, load_model, save_model
from cifarlab.recipe.schema import ModelSpec
from cifarlab.training import checkpoint
from cifarlab.training.checkpoint import Checkpoint

CARD = ModelCard(
    architecture=ModelSpec(name="simple-cnn"),
    class_names=("cat", "dög <script>"),
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    image_size=32,
    fit="crop",
    white_level=65535,
    input_size=96,
    temperature=1.5,
    recipe="simple-cnn",
    fingerprint="0123456789abcdef" * 4,
    original=False,
    version="0.1.0",
)


def numbered(step: int) -> Checkpoint:
    return Checkpoint({"a": torch.full((3, 2), float(step)), "n": torch.tensor(step)}, {"step": step, "x": 0.1 + 0.2})


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, {"w": torch.randn(4, 3), "b": torch.arange(4)}, CARD)
    return path


def test_a_checkpoint_comes_back_exactly(tmp_path):
    checkpoint.save(tmp_path, numbered(7))
    loaded, reasons = checkpoint.load(tmp_path)
    assert reasons == []
    assert loaded.state == numbered(7).state
    assert torch.equal(loaded.tensors["a"], numbered(7).tensors["a"])
    assert loaded.tensors["n"].item() == 7


def test_no_checkpoint_yet_is_no_error(tmp_path):
    assert checkpoint.load(tmp_path) == (None, [])


def test_the_one_before_is_kept_and_nothing_else(tmp_path):
    for step in range(4):
        checkpoint.save(tmp_path, numbered(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last", "previous"]
    assert json.loads((tmp_path / "previous/state.json").read_text())["step"] == 2


@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors", "manifest.json"])
def test_t21_damage_of_the_newest_falls_back_to_the_one_before(tmp_path, name):
    rng = random.Random(name)
    for step in (1, 2):
        checkpoint.save(tmp_path, numbered(step))
    path = tmp_path / "last" / name
    whole = path.read_bytes()
    damaged = [whole[: rng.randrange(len(whole))] for _ in range(20)]
    if name != "manifest.json":  # a changed space in the manifest would be no damage
        flips = [(rng.randrange(len(whole)), 1 << rng.randrange(8)) for _ in range(50)]
        damaged += [whole[:i] + bytes([whole[i] ^ bit]) + whole[i + 1 :] for i, bit in flips]
    for content in damaged:
        path.write_bytes(content)
        loaded, reasons = checkpoint.load(tmp_path)
        assert loaded.state["step"] == 1
        assert "last" in reasons[0]


def test_t22_without_any_good_one_the_reasons_are_listed(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, numbered(step))
    for folder in ("last", "previous"):
        (tmp_path / folder / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"(?s)last/state.json.*previous/state.json"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.rename"])
def test_t13_a_full_disk_leaves_the_last_checkpoint_as_it_was(tmp_path, monkeypatch, call):
    checkpoint.save(tmp_path, numbered(1))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        with pytest.raises(MachineError, match="No space left"):
            checkpoint.save(tmp_path, numbered(2))
    loaded, _ = checkpoint.load(tmp_path)
    assert loaded.state["step"] == 1
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize("stage", range(4))
def test_t02_a_kill_between_the_renames_loses_nothing_older(tmp_path, monkeypatch, stage):
    """Stop the process's renames and deletions from a given one on: what is on disk then is what a kill leaves."""
    for step in (1, 2):
        checkpoint.save(tmp_path, numbered(step))
    calls = iter(range(100))

    class Killed(BaseException):
        pass

    def killing(function):
        def call(*arguments, **options):
            if next(calls) >= stage:
                raise Killed
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killing(shutil.rmtree))
        patch.setattr(pathlib.Path, "rename", killing(pathlib.Path.rename))
        with pytest.raises(Killed):
            checkpoint.save(tmp_path, numbered(3))
    loaded, _ = checkpoint.load(tmp_path)
    assert loaded.state["step"] in (2, 3)


def test_a_model_file_comes_back_with_its_card(model_file):
    weights, card = load_model(model_file)
    assert card == CARD
    assert set(weights) == {"w", "b"}


def test_k03_k05_any_truncation_or_flip_is_refused(model_file):
    rng = random.Random(0)
    whole = model_file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    cuts = [whole[: rng.randrange(len(whole))] for _ in range(100)]
    positions = [rng.randrange(header, len(whole)) for _ in range(100)] + list(range(8))
    flips = [whole[:i] + bytes([whole[i] ^ (1 << rng.randrange(8))]) + whole[i + 1 :] for i in positions]
    for content in cuts + flips:
        model_file.write_bytes(content)
        with pytest.raises(CheckpointError):
            load_model(model_file)


def test_k15_a_flip_anywhere_in_the_header_raises_nothing_but_checkpoint_error(model_file):
    rng = random.Random(1)
    whole = model_file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for _ in range(1000):
        position = rng.randrange(8, header)
        model_file.write_bytes(whole[:position] + bytes([rng.randrange(256)]) + whole[position + 1 :])
        try:
            load_model(model_file)
        except CheckpointError:
            continue


def with_metadata(model_file, **changes):
    whole = model_file.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    metadata = json.loads(whole[8 : 8 + size])["__metadata__"] | changes
    model_file.write_bytes(safetensors.torch.save(safetensors.torch.load(whole), metadata))


def test_k12_a_newer_format_is_named(model_file):
    with_metadata(model_file, format="cifarlab-model-2")
    with pytest.raises(CheckpointError, match="format 2; this cifarlab reads 1"):
        load_model(model_file)


@pytest.mark.parametrize("card", ["", "[]", "{}", "nan", "[" * 100_000, CARD.model_dump_json()[:-1] + ',"extra":1}'])
def test_a_card_that_is_none_is_refused(model_file, card):
    with_metadata(model_file, card=card)
    with pytest.raises(CheckpointError):
        load_model(model_file)


def test_n53_equal_weights_and_cards_give_equal_files(tmp_path):
    weights = {f"layer{number}.weight": torch.full((number + 1,), float(number)) for number in range(12)}
    weights |= {"steps": torch.tensor(7), "half": torch.ones(3, dtype=torch.float16)}
    files = [tmp_path / f"{number}.safetensors" for number in range(6)]
    for file in files:
        save_model(file, weights, CARD)
        weights = dict(reversed(weights.items()))
    assert len({file.read_bytes() for file in files}) == 1
    content = files[0].read_bytes()
    size = int.from_bytes(content[:8], "little")
    assert size % 8 == 0
    loaded = safetensors.torch.load(content)  # the format's own reader agrees
    assert loaded.keys() == weights.keys() and all(loaded[name].equal(value) for name, value in weights.items())


def with_card(model_file, text):
    """Store another card, with a hash that fits it."""
    whole = model_file.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    weights = safetensors.torch.load(whole)
    content = safetensors.torch.save(weights)
    tensors = content[8 + int.from_bytes(content[:8], "little") :]
    assert tensors == whole[start:]
    digest = hashlib.sha256(text.encode() + tensors).hexdigest()
    model_file.write_bytes(
        safetensors.torch.save(weights, {"format": "cifarlab-model-1", "card": text, "sha256": digest})
    )


def test_a_card_whose_hash_fits_is_read(model_file):
    with_card(model_file, CARD.model_dump_json())
    assert load_model(model_file)[1] == CARD


def test_a_card_of_the_first_version_crops_and_has_the_highest_white(model_file):
    values = {name: value for name, value in CARD.model_dump().items() if name not in ("fit", "white_level")}
    with_card(model_file, json.dumps(values))
    card = load_model(model_file)[1]
    assert (card.fit, card.white_level) == ("crop", 65535)


@pytest.mark.parametrize("name", [name for name, field in ModelCard.model_fields.items() if field.is_required()])
def test_n54_a_card_without_one_of_its_fields_is_refused(model_file, name):
    with_card(model_file, json.dumps({key: value for key, value in CARD.model_dump().items() if key != name}))
    with pytest.raises(CheckpointError, match=f"a card that cannot be used: {name}: Field required"):
        load_model(model_file)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_size", 20_000),
        ("image_size", 7),
        ("image_size", "32"),
        ("input_size", 2**31),
        ("input_size", -1),
        ("input_size", 32.5),
        ("temperature", 0),
        ("temperature", 1e300),
        ("temperature", None),
        ("mean", [0.1, 0.2]),
        ("mean", [0.1, 0.2, 1e9]),
        ("std", [0.1, 0.2, 0]),
        ("std", [0.1, 0.2, -0.1]),
        ("class_names", []),
        ("class_names", ["cat", ""]),
        ("class_names", ["cat", "cat"]),
        ("class_names", "cat"),
        ("class_names", [1, 2]),
        ("fit", "squash"),
        ("white_level", 0),
        ("recipe", "../up"),
        ("fingerprint", ""),
        ("fingerprint", "z" * 64),
        ("original", "yes"),
        ("version", "1" * 100),
        ("architecture", {"name": 3}),
        ("architecture", {"name": "simple-cnn", "width": -1.0}),
        ("architecture", None),
    ],
)
def test_n54_a_card_says_nothing_that_cannot_be(model_file, name, value):
    with_card(model_file, json.dumps({**CARD.model_dump(), name: value}))
    with pytest.raises(CheckpointError, match=f"a card that cannot be used: {name}") as caught:
        load_model(model_file)
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "1" * 5000])
def test_n54_a_card_has_numbers_only(model_file, number):
    text = json.dumps({**CARD.model_dump(), "temperature": "HERE"}).replace('"HERE"', number)
    with_card(model_file, text)
    with pytest.raises(CheckpointError, match="a card that cannot be used"):
        load_model(model_file)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_k08_weights_that_are_no_numbers_are_refused(tmp_path, value):
    path = tmp_path / "model.safetensors"
    save_model(path, {"w": torch.tensor([1.0, value])}, CARD)
    with pytest.raises(CheckpointError, match="NaN or infinity in w"):
        load_model(path)


def test_a_foreign_safetensors_file_has_no_card(tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="no card"):
        load_model(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors: No such file"):
        load_model(tmp_path / "nothing.safetensors")


def test_a_header_that_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    path, weights = tmp_path / "model.safetensors", {"w": torch.ones(2)}
    save_model(path, weights, CARD)
    size = int.from_bytes(path.read_bytes()[:8], "little")
    path.unlink()
    monkeypatch.setattr(model_file_module, "HEADER_LIMIT", size - 1)
    with pytest.raises(CheckpointError, match=f"is not written: its class names and layers take {size:,} bytes"):
        save_model(path, weights, CARD)
    assert not path.exists()
    monkeypatch.setattr(model_file_module, "HEADER_LIMIT", size)
    save_model(path, weights, CARD)
    assert load_model(path)[1] == CARD


def test_a_header_larger_than_any_of_ours_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_model(path, {"w": torch.ones(10_000)}, CARD)
    monkeypatch.setattr(model_file_module, "HEADER_LIMIT", int.from_bytes(path.read_bytes()[:8], "little") - 1)
    with pytest.raises(CheckpointError, match="is not a model file of cifarlab"):
        load_model(path)
