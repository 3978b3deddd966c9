from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from cifarlab.errors import CheckpointError, DataError
from cifarlab.images.decode import decode
from cifarlab.inference.classifier import Classifier, inference_runtime
from cifarlab.inference.model_file import ModelCard, load_model, save_model, untrained_card
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.machine.runtime import Runtime
from cifarlab.models.model import Model
from cifarlab.models.registry import MODELS
from cifarlab.recipe.schema import ModelSpec, RuntimeSpec

NAMES = ("cat", "dog", "owl")


class Tiny(nn.Module):
    """A network whose prediction would depend on the batch, if it were not in evaluation mode."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.conv(images)).relu().mean((2, 3))
        logits: Tensor = self.fc(self.drop(features))
        return logits


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "tiny", Model(lambda spec, num_classes, size: Tiny(num_classes), source="here"))
    torch.manual_seed(0)


@pytest.fixture
def cpu() -> Runtime:
    return choose_runtime(RuntimeSpec(device="cpu", precision="fp32", threads=1))


def card(**changes: object) -> ModelCard:
    plain = untrained_card(ModelSpec(name="tiny"), NAMES, 8, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    return ModelCard.model_validate({**plain.model_dump(), **changes})


def saved(folder: Path, weights: dict[str, Tensor] | None = None, **changes: object) -> Path:
    path = folder / "model.safetensors"
    save_model(path, Tiny(3).state_dict() if weights is None else weights, card(**changes))
    return path


def pixels(num_images: int, size: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (num_images, 3, size, size), dtype=np.uint8)


def test_logits_are_those_of_the_normalised_network(cpu: Runtime) -> None:
    model, images = Tiny(3), pixels(5)
    found = Classifier(model, card(), cpu).logits(images)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (card().mean, card().std))
    with torch.no_grad():
        wanted = model.eval()((torch.from_numpy(images) / 255 - mean) / std)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)


def test_alone_or_among_500_the_prediction_is_the_same(cpu: Runtime) -> None:
    classifier, images = Classifier(Tiny(3), card(), cpu), pixels(500)
    together = classifier.logits(images)
    for number in (0, 17, 499):
        np.testing.assert_allclose(classifier.logits(images[number : number + 1])[0], together[number], atol=1e-5)


def test_the_prediction_does_not_depend_on_order_or_batch_size(cpu: Runtime) -> None:
    model, images = Tiny(3), pixels(64)
    order = np.random.default_rng(1).permutation(64)
    wanted = Classifier(model, card(), cpu).logits(images)
    found = Classifier(model, card(), cpu, batch_size=7).logits(images[order])
    np.testing.assert_allclose(found, wanted[order], atol=1e-5)


def test_a_network_in_training_is_judged_in_eval_mode_and_not_changed(cpu: Runtime) -> None:
    model = Tiny(3).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    classifier = Classifier(model, card(), cpu)
    model.train()  # as a loop does between two validations
    assert np.array_equal(classifier.logits(pixels(9)), classifier.logits(pixels(9)))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_arrays_and_tensors_give_the_same_and_read_only_arrays_do(cpu: Runtime) -> None:
    classifier, images = Classifier(Tiny(3), card(), cpu), pixels(4)
    wanted = classifier.logits(torch.from_numpy(images.copy()))
    images.flags.writeable = False
    assert np.array_equal(classifier.logits(images), wanted)
    assert np.array_equal(classifier.logits(images[..., ::-1][..., ::-1]), wanted)


def test_no_images_give_no_logits(cpu: Runtime) -> None:
    assert Classifier(Tiny(3), card(), cpu).logits(pixels(0)).shape == (0, 3)


@pytest.mark.parametrize(
    "wrong", [np.zeros((3, 8, 8), np.uint8), np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 3, 8, 8), np.float32)]
)
def test_other_arrays_are_refused(cpu: Runtime, wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"uint8 \(N, 3, H, W\)"):
        Classifier(Tiny(3), card(), cpu).logits(wrong)


def test_images_are_resized_to_what_the_network_sees(cpu: Runtime) -> None:
    seen: list[tuple[int, ...]] = []

    class Looking(Tiny):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(tuple(images.shape))
            return super().forward(images)

    Classifier(Looking(3), card(input_size=12), cpu).logits(pixels(2))
    assert seen == [(2, 3, 12, 12)]


def test_probabilities_are_divided_by_the_temperature_and_logits_are_not(cpu: Runtime) -> None:
    model, images = Tiny(3), pixels(6)
    plain, cooled = Classifier(model, card(), cpu), Classifier(model, card(temperature=2.0), cpu)
    assert np.array_equal(plain.logits(images), cooled.logits(images))
    wanted = torch.softmax(torch.from_numpy(plain.logits(images)) / 2, 1).numpy()
    np.testing.assert_allclose(cooled.probabilities(images), wanted, atol=1e-6)
    np.testing.assert_allclose(cooled.probabilities(images).sum(axis=1), 1, atol=1e-5)


def test_load_takes_a_file_or_a_run_folder(tmp_path: Path, cpu: Runtime) -> None:
    path = saved(tmp_path)
    from_file, from_folder = Classifier.load(path, runtime=cpu), Classifier.load(str(tmp_path), runtime=cpu)
    assert np.array_equal(from_file.logits(pixels(3)), from_folder.logits(pixels(3)))
    assert from_file.card == card()


def test_a_finished_model_is_applied_in_fp32() -> None:
    assert inference_runtime("cpu").precision == "fp32"


def test_k03_truncated_model_file(tmp_path: Path) -> None:
    path = saved(tmp_path)
    content = path.read_bytes()
    for length in (0, 7, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            Classifier.load(path)


def test_k05_flipped_bit_in_the_weights(tmp_path: Path) -> None:
    path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="altered or damaged"):
        Classifier.load(path)


def test_k06_class_count_mismatch_shows_both(tmp_path: Path) -> None:
    path = saved(tmp_path, Tiny(5).state_dict())
    with pytest.raises(CheckpointError, match=r"fc\.weight is made for 5 classes, the card names 3"):
        Classifier.load(path)


def test_n54_a_card_that_asks_for_more_memory_than_there_is(tmp_path: Path) -> None:
    spec = ModelSpec(name="resnet18", width=100.0)  # 110 billion weights
    with pytest.raises(CheckpointError, match=r"conv1\.weight is missing; .* and \d+ more"):
        Classifier.load(saved(tmp_path, architecture=spec, image_size=32, input_size=32))


def test_k07_every_tensor_that_does_not_fit_is_listed(tmp_path: Path) -> None:
    weights = Tiny(3).state_dict()
    del weights["norm.weight"]
    weights["conv.weight"] = torch.zeros(4, 3, 5, 5)
    weights["conv.bias"] = weights["conv.bias"].half()
    weights["surplus"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        Classifier.load(saved(tmp_path, weights))
    message = str(caught.value)
    assert "conv.weight is torch.float32 (4, 3, 5, 5) instead of torch.float32 (4, 3, 3, 3)" in message
    assert "conv.bias is torch.float16 (4,) instead of torch.float32 (4,)" in message
    assert "norm.weight is missing" in message and "surplus is unknown" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_k08_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    weights = Tiny(3).state_dict()
    weights["fc.bias"][1] = value
    with pytest.raises(CheckpointError, match=r"fc\.bias"):
        Classifier.load(saved(tmp_path, weights))


def test_k08_output_that_is_not_finite_is_not_taken_for_a_prediction(cpu: Runtime) -> None:
    model = Tiny(3)
    model.fc.bias.data.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        Classifier(model, card(), cpu).predict([pixels(1)[0]])


@pytest.mark.parametrize("name", ["os.system", "resnet19", "../tiny", "cifarlab.models.resnet", ""])
def test_k14_unknown_architecture_lists_known_ones(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, architecture=ModelSpec(name=name))
    with pytest.raises(CheckpointError, match=r"(?s)model\.safetensors.*(Known|Did you mean)"):
        Classifier.load(path)


def test_a_card_never_makes_loading_fetch_weights(tmp_path: Path, cpu: Runtime) -> None:
    spec = ModelSpec(name="tiny", weights="/nowhere.safetensors")
    assert Classifier.load(saved(tmp_path, architecture=spec), runtime=cpu).card.architecture == spec


def test_a_network_of_the_registry_survives_the_file(tmp_path: Path, cpu: Runtime) -> None:
    spec = ModelSpec(name="resnet18", width=0.125)
    model = MODELS["resnet18"].build(spec, 3, 16)
    facts = card(architecture=spec, image_size=16, input_size=16)
    path = tmp_path / "model.safetensors"
    save_model(path, model.state_dict(), facts)
    images = pixels(3, 16)
    wanted = Classifier(model, facts, cpu).logits(images)
    np.testing.assert_allclose(Classifier.load(path, runtime=cpu).logits(images), wanted, atol=1e-5)


@pytest.fixture
def two_threads() -> Runtime:
    return choose_runtime(RuntimeSpec(device="cpu", precision="fp32", threads=2))


def folding_network(folder: Path) -> Path:
    """A model file of speednet with norms that have seen images."""
    spec = ModelSpec(name="speednet", width=0.125)
    model = MODELS["speednet"].build(spec, 3, 16)
    model(torch.randn(16, 3, 16, 16))
    path = folder / "model.safetensors"
    save_model(path, model.state_dict(), card(architecture=spec, image_size=16, input_size=16))
    return path


def test_a_loaded_network_predicts_as_it_was_trained_and_shows_its_own_layers(tmp_path: Path, cpu: Runtime) -> None:
    loaded = Classifier.load(folding_network(tmp_path), runtime=cpu)
    as_trained = Classifier(loaded.model, loaded.card, cpu)
    images = pixels(60, 16)
    found, wanted = loaded.logits(images), as_trained.logits(images)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert np.array_equal(found.argmax(axis=1), wanted.argmax(axis=1))
    assert any(isinstance(module, nn.BatchNorm2d) for module in loaded.model.modules())


def test_loading_leaves_weights_as_they_are_on_disk(tmp_path: Path, cpu: Runtime) -> None:
    path = folding_network(tmp_path)
    stored, state = load_model(path)[0], Classifier.load(path, runtime=cpu).model.state_dict()
    assert stored.keys() == state.keys()
    assert all(torch.equal(stored[name], tensor) for name, tensor in state.items())


def test_cores_that_divide_the_images_give_the_same_in_the_same_order(
    tmp_path: Path, cpu: Runtime, two_threads: Runtime
) -> None:
    path, images = folding_network(tmp_path), pixels(170, 16)
    wanted = Classifier.load(path, runtime=cpu).logits(images)
    found = Classifier.load(path, runtime=two_threads).logits(images)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_n58_loading_and_predicting_leave_the_process_as_it_was(tmp_path: Path, two_threads: Runtime) -> None:
    path, images = folding_network(tmp_path), pixels(170, 16)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        classifier = Classifier.load(path)
        assert torch.get_num_threads() == classifier.runtime.threads == 3
        Classifier.load(path, runtime=two_threads).logits(images)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_prediction_and_an_evaluation_say_the_same(tmp_path: Path, two_threads: Runtime) -> None:
    classifier, images = Classifier.load(folding_network(tmp_path), runtime=two_threads), pixels(130, 16)
    found = [each.probability for each in classifier.predict(list(images))]
    assert found == classifier.probabilities(images).max(axis=1).tolist()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="missing"):
        Classifier.load(tmp_path / "missing.safetensors")


class TestPredict:
    @pytest.fixture
    def classifier(self, cpu: Runtime) -> Classifier:
        return Classifier(Tiny(3), card(), cpu, batch_size=2)

    def test_file_image_and_array_are_one(self, classifier: Classifier, tmp_path: Path) -> None:
        array = pixels(1)[0]
        image = Image.fromarray(array.transpose(1, 2, 0))
        image.save(tmp_path / "a.png")
        found = classifier.predict([tmp_path / "a.png", str(tmp_path / "a.png"), image, array])
        assert [each.top for each in found] == [found[0].top] * 4
        assert [each.name for each in found] == [str(tmp_path / "a.png")] * 2 + ["image 2", "image 3"]

    def test_pixels_of_the_right_size_are_what_the_decoder_would_give(self, classifier: Classifier) -> None:
        array = pixels(1)[0]
        image = Image.fromarray(array.transpose(1, 2, 0))
        encoded = io.BytesIO()
        image.save(encoded, "PNG")
        assert np.array_equal(decode(encoded.getvalue(), (8, 8)), array)
        for given in (array, image, array[:, ::-1][:, ::-1]):
            assert np.array_equal(classifier.decode(given), array)
        assert not np.shares_memory(classifier.decode(array), array)

    @pytest.mark.parametrize("note", ["transparency", "orientation"])
    def test_what_stands_beside_the_pixels_of_an_image_counts(self, classifier: Classifier, note: str) -> None:
        image = Image.fromarray(pixels(1)[0].transpose(1, 2, 0))
        if note == "transparency":
            image.info["transparency"] = image.getpixel((0, 0))
        else:
            image.getexif()[0x0112] = 6
        encoded = io.BytesIO()
        image.save(encoded, "PNG", exif=image.getexif())
        found = classifier.decode(image)
        assert np.array_equal(found, decode(encoded.getvalue(), (8, 8)))
        assert not np.array_equal(found, pixels(1)[0])

    def test_top_is_sorted_and_agrees_with_probabilities(self, classifier: Classifier) -> None:
        array = pixels(1)
        assert np.array_equal(
            classifier.decode(array[0]), classifier.decode(Image.fromarray(array[0].transpose(1, 2, 0)))
        )
        [found] = classifier.predict(list(array), top=2)
        row = classifier.probabilities(array)[0]
        assert len(found.top) == 2 and found.top[0] == (found.label, found.probability)
        assert found.label == NAMES[int(row.argmax())]
        assert [probability for _, probability in found.top] == sorted(row.tolist(), reverse=True)[:2]

    def test_order_is_kept_over_batches(self, classifier: Classifier) -> None:
        arrays = pixels(5)
        together = classifier.predict(list(arrays), top=1)
        alone = [classifier.predict([array], top=1)[0] for array in arrays]
        assert [each.label for each in together] == [each.label for each in alone]
        assert [each.name for each in together] == [f"image {number}" for number in range(5)]

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I;16"])
    def test_s05_any_mode_and_size(self, classifier: Classifier, mode: str) -> None:
        image = Image.new("L", (31, 17), 130).convert("RGB").convert(mode) if mode != "I;16" else None
        [found] = classifier.predict([image or Image.new("I;16", (31, 17), 130 * 257)])
        [grey] = classifier.predict([Image.new("RGB", (31, 17), (130, 130, 130))])
        if mode not in ("1", "HSV"):  # these do not hold the same grey
            assert found.probability == pytest.approx(grey.probability, abs=2e-2)
        assert len(found.top) == 3

    def test_n13_n15_a_picture_is_fitted_as_those_of_the_training_were(self, cpu: Runtime, tmp_path: Path) -> None:
        wide = np.zeros((16, 32), np.uint16)
        wide[:, :8] = 4095
        Image.fromarray(wide).save(tmp_path / "wide.png")
        for fit, row in (
            ("crop", [0] * 8),
            ("pad", None),
            ("stretch", [255, 255, 0, 0, 0, 0, 0, 0]),
        ):
            classifier = Classifier(Tiny(3), card(fit=fit, white_level=4095), cpu)
            found = classifier.decode(tmp_path / "wide.png")
            for given in (str(tmp_path / "wide.png"), Image.open(tmp_path / "wide.png")):
                assert np.array_equal(classifier.decode(given), found)
            if row is not None:
                assert np.abs(found[0, 4].astype(int) - row).max() <= 30
            else:
                assert (found[:, :2] == 0).all() and (found[:, -2:] == 0).all() and (found[:, 2:6, 0] == 255).all()

    def test_an_image_of_fractions_outside_of_0_to_1_is_refused(self, classifier: Classifier) -> None:
        with pytest.raises(DataError, match="image 0: fractions from 130 to 130"):
            classifier.decode(Image.new("F", (8, 8), 130))
        assert (classifier.decode(Image.new("F", (8, 8), 0.5)) == 128).all()

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_s06_a_turned_photograph_is_set_upright(
        self, classifier: Classifier, tmp_path: Path, orientation: int
    ) -> None:
        upright = Image.fromarray(pixels(1)[0].transpose(1, 2, 0))
        undo = {
            2: [Image.Transpose.FLIP_LEFT_RIGHT],
            3: [Image.Transpose.ROTATE_180],
            4: [Image.Transpose.FLIP_TOP_BOTTOM],
            5: [Image.Transpose.TRANSPOSE],
            6: [Image.Transpose.ROTATE_90],
            7: [Image.Transpose.TRANSVERSE],
            8: [Image.Transpose.ROTATE_270],
        }
        turned = upright
        for step in undo.get(orientation, []):
            turned = turned.transpose(step)
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned.save(tmp_path / "turned.png", exif=exif)
        with Image.open(tmp_path / "turned.png") as opened:
            opened.load()
            from_image = classifier.predict([opened])[0]
        from_file = classifier.predict([tmp_path / "turned.png"])[0]
        wanted = classifier.predict([upright])[0]
        assert from_file.top == wanted.top == from_image.top

    def test_s07_an_unreadable_image_is_named(self, classifier: Classifier, tmp_path: Path) -> None:
        file = io.BytesIO()
        Image.fromarray(pixels(1, 64)[0].transpose(1, 2, 0)).save(file, "PNG")
        path = tmp_path / "cut.png"
        for content in (file.getvalue()[:500], b"", b"<svg/>"):
            path.write_bytes(content)
            with pytest.raises(DataError, match=r"cut\.png: "):
                classifier.predict([path])
        with pytest.raises(DataError, match=r"missing\.png: no such file"):
            classifier.predict([tmp_path / "missing.png"])

    def test_an_array_of_another_layout_is_refused(self, classifier: Classifier) -> None:
        with pytest.raises(ValueError, match=r"uint8 \(3, H, W\)"):
            classifier.predict([np.zeros((8, 8, 3), np.uint8)])
