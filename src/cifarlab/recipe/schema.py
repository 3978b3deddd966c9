"""What to do: data, model, augmentation, optimizer, schedule, training, evaluation. Typed, frozen, no torch.

The text under each field is its documentation: the guide and the error messages are made from it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cifarlab.recipe.duration import Duration, parse_duration
from cifarlab.recipe.section import (
    ClassNames,
    Columns,
    Fraction,
    NonNegative,
    Positive,
    ReferenceSpec,
    Section,
    SplitNames,
    Weights,
)

FORMAT: Literal[1] = 1
"""Version of the recipe format; a recipe with a higher one needs a newer cifarlab."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What recipes and runs may be called: it is a folder's name on every system."""


Fit = Literal["crop", "pad", "stretch"]
"""How an image that is not square becomes square."""

WHITE_LEVEL = 65535
"""The highest value of 16 bits."""
WhiteLevel = Annotated[int, Field(ge=256, le=WHITE_LEVEL)]

SMALLEST_SIDE, LARGEST_SIDE = 8, 512
Side = Annotated[int, Field(ge=SMALLEST_SIDE, le=LARGEST_SIDE)]
"""Of an image, in pixels."""


class DataSpec(Section):
    """Which images."""

    source: str = "cifar10"
    """cifar10, cifar100, sample, or the path of a data set: pictures, a list of them, parquet, npz, IDX, ..."""
    image_size: Side | None = None
    """Side in pixels of what the network sees; unset: the stored size if all have one of 28 to 64 px, else 32 or 64."""
    normalisation: Literal["train", "imagenet"] = "train"
    """Mean and deviation: computed from train, or the constants of ImageNet for pretrained weights."""
    fit: Fit = "crop"
    """How images that are not square become square: their centre, the whole with bars, or the whole distorted."""
    white_level: WhiteLevel = WHITE_LEVEL
    """The value that is white in greys of 16 bits: 4095 where they hold 12 bits."""
    layout: Literal["auto", "splits", "classes", "class-first", "leaves", "lists"] = "auto"
    """What folders mean. splits: those at the top are splits, those in them classes; classes: those at the top are
    classes; class-first: those at the top are classes, those in them splits; leaves: every folder that holds pictures
    is a class; lists: nothing, a list in the folder names the classes; auto: told from names and contents."""
    split_names: SplitNames = ""
    """Folders or files that are splits under unusual names, such as "train=learn,test=check"; "val=" for no val."""
    columns: Columns = ""
    """Columns of a list or table under unusual names, such as "image=photo,label=kind"; "split=" for no split."""
    class_names: ClassNames = ""
    """Names of the classes 0, 1, ... of data that has numbers alone, such as "frog,truck"; unset: the numbers."""
    follow_links: bool = False
    """Follow symbolic links that leave the data set's folder."""
    strict: bool = False
    """Refuse images that a warning is about: copies across splits or under two labels, small or unequal classes, ..."""
    skip_bad: bool = False
    """Leave out images that cannot be read, list them in bad.jsonl, and end with exit code 8."""


class ValidationSpec(Section):
    """The part of train that is held out to choose the epoch."""

    size: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Images (a whole number) or fraction of train, stratified; 0 trains on all and selects nothing."""
    seed: int = 0
    """Chooses the held-out images; kept apart from training.seed so that seeds share one split."""
    every: Annotated[int, Field(ge=1)] = 1
    """Validate every this many epochs; the last epoch is always validated."""


class ModelSpec(Section):
    """Which network."""

    name: str
    """A name that `cifarlab models` lists, torchvision:<name> or timm:<name>."""
    stem: Literal["default", "cifar", "imagenet"] = "default"
    """First layers: for 32 px or for 224 px; default: the network's own."""
    width: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Factor on the number of channels, for the networks that allow it."""
    pretrained: bool = False
    """Start from the weights that torchvision or timm publish."""
    weights: str | None = None
    """Start from a local safetensors file; its head is left out where the classes differ."""
    freeze: Literal["none", "backbone"] = "none"
    """backbone: only the head learns."""
    unfreeze_epoch: Annotated[int, Field(ge=1)] | None = None
    """The epoch (counted from 0) from which a frozen backbone learns too."""
    backbone_lr_factor: Positive = 1.0
    """Factor on the learning rate of everything but the head."""


class AugmentationSpec(Section):
    """Random changes of the training images, made in batches on the device; 0 is off."""

    crop_padding: Annotated[int, Field(ge=0, le=64)] = 0
    """Pad by this many pixels on each side, then crop a random window of the old size."""
    crop_fill: Literal["zero", "reflect"] = "zero"
    """What the padding shows."""
    flip: Literal["none", "random", "alternating"] = "none"
    """Mirror half of the images at random; alternating: every image in every other epoch."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Rotate by up to this many degrees in either direction."""
    translation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Shift by up to this fraction of the side."""
    brightness: NonNegative = 0.0
    """Multiply by a factor within 1 ± this."""
    contrast: NonNegative = 0.0
    """Scale the distance from the mean grey by a factor within 1 ± this."""
    saturation: NonNegative = 0.0
    """Scale the distance from grey by a factor within 1 ± this."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Turn the hue by up to this fraction of the circle."""
    policy: Literal["none", "trivial"] = "none"
    """trivial: one operation of random strength per image (TrivialAugment, Müller and Hutter, 2021)."""
    cutout: Annotated[int, Field(ge=0)] = 0
    """Side in pixels of a square set to the mean colour (DeVries and Taylor, 2017)."""
    erasing: Fraction = 0.0
    """Probability of setting a random rectangle to the mean colour (Zhong et al., 2017)."""
    mixup: NonNegative = 0.0
    """Alpha of mixup (Zhang et al., 2017); with cutmix too, each batch gets one of them by chance."""
    cutmix: NonNegative = 0.0
    """Alpha of cutmix (Yun et al., 2019)."""
    mix_probability: Fraction = 1.0
    """Share of the batches that are mixed."""


class OptimizerSpec(Section):
    """How gradients become steps."""

    name: Literal["sgd", "adam", "adamw", "muon"] = "sgd"
    """SGD, Adam, AdamW with decoupled weight decay, or Muon: orthogonal steps for filters, SGD for the rest."""
    lr: Positive = 0.1
    """The base learning rate; the schedule scales it."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of sgd, and of muon for everything but the filters."""
    nesterov: bool = False
    """Of sgd; muon always looks ahead."""
    filter_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.6
    """Of muon, for the filters."""
    rest_lr: Positive = 1.0
    """Of muon: the base learning rate of everything but the filters, whose rate is lr."""
    bias_lr_factor: Positive = 1.0
    """Factor on the learning rate of norm scales and biases; their weight decay keeps its strength."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of adam and adamw: decay of the mean gradient."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Of adam and adamw: decay of the mean squared gradient."""
    eps: Positive = 1e-8
    """Of adam and adamw."""
    weight_decay: NonNegative = 0.0
    """Pull towards zero; in sgd and adam added to the gradient, in adamw applied to the weight."""
    decay_norm_and_bias: bool = True
    """Whether weight decay also pulls norm scales and biases."""


class ScheduleSpec(Section):
    """How the learning rate changes; every value is a factor on optimizer.lr."""

    name: Literal["constant", "step", "multistep", "cosine", "one-cycle", "linear"] = "constant"
    """The shape after the warm-up."""
    warmup: Duration = "0 steps"
    """Rise linearly from 0 for this long."""
    every: Duration = "30 epochs"
    """Of step: multiply by gamma each time this has passed."""
    milestones: Annotated[tuple[Duration, ...], Field(strict=False)] = ()
    """Of multistep: multiply by gamma at each of these."""
    gamma: Positive = 0.1
    """Of step and multistep."""
    final: Fraction = 0.0
    """Of cosine, one-cycle and linear: the factor at the end."""
    start: Fraction = 0.04
    """Of one-cycle: the factor at the beginning."""
    peak: Duration = "30 %"
    """Of one-cycle: when the factor is 1."""


class TrainingSpec(Section):
    """The loop."""

    epochs: Positive = 10
    """Passes over train; a fraction ends within an epoch."""
    batch_size: Annotated[int, Field(ge=1)] = 128
    """Images per optimizer step."""
    start_size: Side | None = None
    """Side in pixels of the training images at first; it grows in steps of 4. Unset: full size throughout."""
    full_size_from: Duration = "60 %"
    """When they have reached the full size, if they start smaller."""
    hard_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training images, those with the highest loss, that is still drawn after hard_from; 1 is all."""
    hard_from: Duration = "50 %"
    """When the other images are left out: from the next epoch on, chosen anew for each."""
    last_batch: Literal["keep", "drop"] = "keep"
    """What happens to the rest that is smaller than a batch (a rest of one image is always dropped)."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """The source of all randomness in training."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target spread evenly over all classes."""
    class_weights: Literal["none", "balanced"] | Weights = "none"
    """balanced: inverse to the class counts; or one weight per class."""
    clip_norm: NonNegative = 0.0
    """Scale gradients down to this total norm; 0 is off."""
    max_minutes: Positive | None = None
    """Stop after this long, keeping what was learnt."""
    checkpoint_minutes: Positive = 5.0
    """Save the state within an epoch when this long has passed; so does an epoch's end, 10 s after the last time."""


class AveragingSpec(Section):
    """Averaged weights, which are then validated and shipped instead of the raw ones."""

    name: Literal["none", "ema"] = "none"
    """ema: exponential moving average."""
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """How much the weights of one update count, relative to those of the next; those before start count nothing."""
    every: Annotated[int, Field(ge=1)] = 1
    """Update each time this many steps have passed."""
    start: Duration = "0 steps"
    """Until then the average follows the weights."""


class StoppingSpec(Section):
    """Early stopping."""

    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after this many validations without improvement; 0 is off."""
    metric: Literal["val/loss", "val/accuracy"] = "val/loss"
    """What has to improve."""
    min_delta: NonNegative = 0.0
    """By more than this."""


class RuntimeSpec(Section):
    """The machine; auto chooses what is fast on it. The manifest says what was chosen; a resumed run keeps to it."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:<index> or mps."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the network's arithmetic; weights stay in fp32. auto: bf16 where the device has instructions for it."""
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    """Layout of images and filters in memory."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the network with torch.compile."""
    kernels: Literal["auto", "on", "off"] = "auto"
    """On a CPU, use operations that a C++ compiler on the machine makes for it; auto: where there is one."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads; unset: OMP_NUM_THREADS, else one per core."""
    tensorboard: bool = True
    """Write TensorBoard events."""
    histograms: bool = False
    """Write a TensorBoard histogram of every layer's weights after each epoch."""


class EvaluationSpec(Section):
    """Judging."""

    batch_size: Annotated[int, Field(ge=1)] = 500
    """Images per forward pass."""
    tta: Literal["none", "mirror", "mirror+shifts"] = "none"
    """Test-time augmentation, reported as a number of its own."""
    test: bool = True
    """Open the test split once at the end of training."""


class Recipe(Section):
    """A complete, immutable description of one training.

    Raises RecipeError (through `cifarlab.recipe.toml`) with every problem at once.
    """

    format: Annotated[int, Field(ge=1, le=FORMAT)] = FORMAT
    """Version of this format."""
    name: Annotated[str, Field(pattern=NAME)]
    """Names the run folder."""
    description: str = ""
    """One sentence for lists."""
    reference: ReferenceSpec | None = None
    data: DataSpec = DataSpec()
    validation: ValidationSpec = ValidationSpec()
    model: ModelSpec
    augmentation: AugmentationSpec = AugmentationSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    training: TrainingSpec = TrainingSpec()
    averaging: AveragingSpec = AveragingSpec()
    stopping: StoppingSpec = StoppingSpec()
    runtime: RuntimeSpec = RuntimeSpec()
    evaluation: EvaluationSpec = EvaluationSpec()

    @model_validator(mode="after")
    def _contradictions(self) -> Self:
        problems = [text for wrong, text in self._rules() if wrong]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _rules(self) -> list[tuple[bool, str]]:
        """Pairs of fields that cannot hold together, each with the sentence that says so."""
        model, optimizer, schedule = self.model, self.optimizer, self.schedule
        warmup, unit = parse_duration(schedule.warmup)
        limit = {"epoch": self.training.epochs, "step": float("inf"), "%": 100}[unit]
        external, has_momentum = ":" in model.name, optimizer.name == "sgd" and optimizer.momentum > 0
        validates, thaws = self.validation.size > 0, model.unfreeze_epoch is not None
        patience, weights = self.stopping.patience, model.weights is not None
        full_size, mixes = self.data.image_size or 512, self.augmentation.mixup > 0 or self.augmentation.cutmix > 0
        return [
            (warmup > limit, "schedule.warmup is longer than training.epochs"),
            (
                schedule.name == "step" and parse_duration(schedule.every)[0] == 0,
                "schedule.every must not be 0",
            ),
            (schedule.name == "multistep" and not schedule.milestones, "multistep needs schedule.milestones"),
            (model.pretrained and not external, "model.pretrained needs a torchvision: or timm: model.name"),
            (model.pretrained and weights, "model.pretrained and model.weights exclude each other"),
            (model.freeze == "none" and thaws, 'model.unfreeze_epoch needs model.freeze = "backbone"'),
            ((self.training.start_size or 0) > full_size, "training.start_size is larger than data.image_size"),
            (
                self.training.hard_share < 1 and mixes,
                "training.hard_share below 1 needs images of one label each, without augmentation.mixup and cutmix",
            ),
            (patience > 0 and not validates, "stopping.patience needs a validation.size above 0"),
            (optimizer.nesterov and not has_momentum, "optimizer.nesterov needs sgd with momentum"),
        ]
