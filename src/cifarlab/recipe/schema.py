"""The sections of a recipe: data, model, augmentation, optimizer, schedule, training, evaluation and the rest.

The text below each field is its documentation, from which docs/recipes.md is made (scripts/make_docs.py).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cifarlab.language import tr
from cifarlab.recipe.duration import Duration, parse_duration
from cifarlab.recipe.override import override_all
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
from cifarlab.shown import Shown

FORMAT: Literal[1] = 1
"""Version of the recipe format; a recipe with a higher one needs a newer cifarlab."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Names of recipes and runs, which are also names of folders: safe on every file system."""

Fit = Literal["crop", "pad", "stretch"]
"""How an image that is not square becomes square."""

WHITE_LEVEL = 65535  # the highest value of 16 bits
WhiteLevel = Annotated[int, Field(ge=256, le=WHITE_LEVEL)]

SMALLEST_SIDE, LARGEST_SIDE = 8, 512
Side = Annotated[int, Field(ge=SMALLEST_SIDE, le=LARGEST_SIDE)]
"""Side of an image in pixels."""


class DataSpec(Section):
    """The data set, and how its images are read."""

    source: str = "cifar10"
    """cifar10, cifar100, sample, or the path of a data set: pictures, a list of them, parquet, npz, IDX, ..."""
    image_size: Side | None = None
    """Side of the network's input in pixels; unset: the size of the images if all share one of 28 to 64 px, else 32
    or 64."""
    normalisation: Literal["train", "imagenet"] = "train"
    """Mean and standard deviation: computed from train, or those of ImageNet, for pretrained weights."""
    fit: Fit = "crop"
    """How images that are not square become square: crop the centre, pad with bars, or stretch."""
    white_level: WhiteLevel = WHITE_LEVEL
    """The value of white in 16-bit greyscale images: 4095 if they hold 12 bits."""
    layout: Literal["auto", "splits", "classes", "class-first", "leaves", "lists"] = "auto"
    """What folders stand for. splits: those at the top are splits, those inside them classes; classes: those at the top
    are classes; class-first: those at the top are classes, those inside them splits; leaves: every folder that holds
    pictures is a class; lists: nothing, a list in the folder names the classes; auto: inferred from names and
    contents."""
    split_names: SplitNames = ""
    """Folders or files that hold the splits under other names, such as "train=learn,test=check"; "val=" for no val."""
    columns: Columns = ""
    """Columns of a list or table with other names, such as "image=photo,label=kind"; "split=" for no split."""
    class_names: ClassNames = ""
    """Names of the classes 0, 1, ... for data whose labels are numbers, such as "frog,truck"; unset: the numbers."""
    follow_links: bool = False
    """Follow symbolic links that leave the data set's folder."""
    strict: bool = False
    """Treat warnings about the images as errors: copies across splits or under two labels, small or unequal classes,
    ..."""
    skip_bad: bool = False
    """Leave out images that cannot be read, list them in bad.jsonl, and end with exit code 8."""


class ValidationSpec(Section):
    """The part of train that is held out to select the best epoch."""

    # The type decides: 500 is a number of images, 0.1 a fraction; 1.0 could be meant as either and is refused.
    size: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Number of images (a whole number) or fraction of train, stratified by class; 0 trains on everything and selects
    no epoch."""
    seed: int = 0
    """Seed for drawing the held-out images; separate from training.seed, so that runs with several seeds share them."""
    every: Annotated[int, Field(ge=1)] = 1
    """Validate once in this many epochs, and always after the last one."""


class ModelSpec(Section):
    """The network and its initial weights."""

    name: str
    """One of the names that `cifarlab models` lists, or torchvision:<name> or timm:<name>."""
    stem: Literal["default", "cifar", "imagenet"] = "default"
    """The first layers: made for 32 px (cifar) or for 224 px (imagenet); default: the network's own choice."""
    width: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Multiplies the number of channels, for the networks that allow it."""
    pretrained: bool = False
    """Start from the weights that torchvision or timm publish."""
    weights: str | None = None
    """Start from a local safetensors file; its head is ignored if it was made for another number of classes."""
    freeze: Literal["none", "backbone"] = "none"
    """backbone: train only the head."""
    unfreeze_epoch: Annotated[int, Field(ge=1)] | None = None
    """The epoch, counted from 0, from which a frozen backbone is trained too."""
    backbone_lr_factor: Positive = 1.0
    """Multiplies the learning rate of everything but the head."""


class AugmentationSpec(Section):
    """Random changes to the training images, computed in batches on the device; 0 is off."""

    crop_padding: Annotated[int, Field(ge=0, le=64)] = 0
    """Pad by this many pixels on each side, then crop a random window of the original size."""
    crop_fill: Literal["zero", "reflect"] = "zero"
    """Fill the padding with zeros, or with the image reflected at its edges."""
    flip: Literal["none", "random", "alternating"] = "none"
    """random: mirror each image with probability 1/2; alternating: in every other epoch (Jordan, 2024)."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Rotate by up to this many degrees in either direction."""
    translation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Shift by up to this fraction of the side along each axis."""
    brightness: NonNegative = 0.0
    """Multiply all values by a random factor within 1 ± this."""
    contrast: NonNegative = 0.0
    """Multiply the distance from the image's mean grey by a random factor within 1 ± this."""
    saturation: NonNegative = 0.0
    """Multiply the distance from each pixel's grey by a random factor within 1 ± this."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Rotate the hue by up to this fraction of the colour circle in either direction."""
    policy: Literal["none", "trivial"] = "none"
    """trivial: one operation of random strength per image (TrivialAugment, Müller and Hutter, 2021)."""
    cutout: Annotated[int, Field(ge=0)] = 0
    """Side in pixels of a square that is set to the mean colour (DeVries and Taylor, 2017)."""
    erasing: Fraction = 0.0
    """Probability of setting a random rectangle to the mean colour (Zhong et al., 2017)."""
    mixup: NonNegative = 0.0
    """Alpha of mixup (Zhang et al., 2017); if cutmix is set too, each batch gets one of the two at random."""
    cutmix: NonNegative = 0.0
    """Alpha of CutMix (Yun et al., 2019)."""
    mix_probability: Fraction = 1.0
    """Probability with which a batch is mixed, by mixup or CutMix."""


class OptimizerSpec(Section):
    """The optimizer and its parameters."""

    name: Literal["sgd", "adam", "adamw", "muon"] = "sgd"
    """SGD, Adam, AdamW (decoupled weight decay), or Muon (orthogonalised updates for filters, SGD for the rest)."""
    lr: Positive = 0.1
    """The base learning rate, which the schedule multiplies; with muon, that of the filters."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """sgd, and muon for everything but the filters: momentum."""
    nesterov: bool = False
    """sgd: use Nesterov momentum; muon always does."""
    filter_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.6
    """muon: momentum of the filters."""
    rest_lr: Positive = 1.0
    """muon: the base learning rate of everything but the filters."""
    bias_lr_factor: Positive = 1.0
    """Multiplies the learning rate of norm scales and biases; their weight decay is not multiplied."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """adam, adamw: decay rate of the mean gradient."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """adam, adamw: decay rate of the mean squared gradient."""
    eps: Positive = 1e-8
    """adam, adamw: added to the denominator for numerical stability."""
    weight_decay: NonNegative = 0.0
    """Weight decay; added to the gradient in sgd and adam (L2), applied to the weights directly in adamw."""
    decay_norm_and_bias: bool = True
    """Whether weight decay also applies to norm scales and biases."""


class ScheduleSpec(Section):
    """The learning rate over time; every value multiplies optimizer.lr."""

    name: Literal["constant", "step", "multistep", "cosine", "one-cycle", "linear"] = "constant"
    """The shape of the curve after the warm-up."""
    warmup: Duration = "0 steps"
    """Increase linearly from 0 for this long."""
    every: Duration = "30 epochs"
    """step: multiply by gamma after every such period."""
    # strict=False: a TOML array is a list, which strict mode refuses for a tuple.
    milestones: Annotated[tuple[Duration, ...], Field(strict=False)] = ()
    """multistep: multiply by gamma at each of these points."""
    gamma: Positive = 0.1
    """step, multistep: the factor of each reduction."""
    final: Fraction = 0.0
    """cosine, one-cycle, linear: the factor at the end."""
    start: Fraction = 0.04
    """one-cycle: the factor at the beginning."""
    peak: Duration = "30 %"
    """one-cycle: when the factor reaches 1."""


class TrainingSpec(Section):
    """The training loop."""

    epochs: Positive = 10
    """Passes over train; with a fraction, training ends within an epoch."""
    batch_size: Annotated[int, Field(ge=1)] = 128
    """Images per optimizer step."""
    start_size: Side | None = None
    """Initial side of the training images in pixels; it grows in steps of 4 px. Unset: full size throughout."""
    full_size_from: Duration = "60 %"
    """When the images reach their full size, if they start smaller."""
    hard_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training images that is used after hard_from: those with the highest loss; 1 is all of them."""
    hard_from: Duration = "50 %"
    """When to leave out the other images: from the next epoch on, selected anew before each epoch."""
    last_batch: Literal["keep", "drop"] = "keep"
    """What to do with a last batch that is smaller than the others (one of a single image is always dropped)."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of all randomness in training."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread evenly over all classes."""
    class_weights: Literal["none", "balanced"] | Weights = "none"
    """Weights of the classes in the loss. balanced: inversely proportional to their counts; or one weight per class."""
    clip_norm: NonNegative = 0.0
    """Clip the gradients to this total norm; 0 is off."""
    max_minutes: Positive | None = None
    """Stop after this many minutes; the run is complete, with what has been learned by then."""
    checkpoint_minutes: Positive = 5.0
    """Minutes after which the state is saved within an epoch; it is also saved at the end of an epoch, if 10 s have
    passed since the last time."""


class AveragingSpec(Section):
    """Averaging of the weights; the averaged ones are validated and saved in the model file instead of the raw ones."""

    name: Literal["none", "ema"] = "none"
    """ema: exponential moving average."""
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Decay per update: how much each update counts relative to the next one; weights before start do not count."""
    every: Annotated[int, Field(ge=1)] = 1
    """Update the average once in this many steps."""
    start: Duration = "0 steps"
    """When averaging begins; until then the average equals the weights."""


class StoppingSpec(Section):
    """Early stopping."""

    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after this many validations without improvement; 0 is off."""
    metric: Literal["val/loss", "val/accuracy"] = "val/loss"
    """The metric that has to improve."""
    min_delta: NonNegative = 0.0
    """An improvement has to be larger than this."""


class RuntimeSpec(Section):
    """The machine; auto chooses what is fast on it. The manifest records the choice, and a resumed run keeps it."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:<index> or mps."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of the network's arithmetic; weights stay in fp32. auto: bf16 if the device has instructions for it."""
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    """Memory layout of images and filters."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the network with torch.compile."""
    kernels: Literal["auto", "on", "off"] = "auto"
    """On a CPU, use kernels that are compiled for it on this machine; auto: if there is a C++ compiler."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads; unset: OMP_NUM_THREADS, else one per core."""
    tensorboard: bool = True
    """Write TensorBoard events."""
    histograms: bool = False
    """Write a TensorBoard histogram of every layer's weights after each epoch."""


class EvaluationSpec(Section):
    """Evaluation of the trained network."""

    batch_size: Annotated[int, Field(ge=1)] = 500
    """Images per forward pass."""
    tta: Literal["none", "mirror", "mirror+shifts"] = "none"
    """Test-time augmentation, whose accuracy is reported separately."""
    test: bool = True
    """Evaluate on the test split once, at the end of training."""


class Recipe(Section, Shown):
    """A complete, immutable description of one training.

    Raises RecipeError (through `cifarlab.recipe.toml`) with every problem at once.
    """

    format: Annotated[int, Field(ge=1, le=FORMAT)] = FORMAT
    """Version of the recipe format."""
    name: Annotated[str, Field(pattern=NAME)]
    """Name of the recipe, with which the names of its run folders begin."""
    description: str = ""
    """One sentence, shown in lists."""
    reference: ReferenceSpec | None = None
    data: DataSpec = Field(default_factory=DataSpec)
    validation: ValidationSpec = Field(default_factory=ValidationSpec)
    model: ModelSpec
    augmentation: AugmentationSpec = Field(default_factory=AugmentationSpec)
    optimizer: OptimizerSpec = Field(default_factory=OptimizerSpec)
    schedule: ScheduleSpec = Field(default_factory=ScheduleSpec)
    training: TrainingSpec = Field(default_factory=TrainingSpec)
    averaging: AveragingSpec = Field(default_factory=AveragingSpec)
    stopping: StoppingSpec = Field(default_factory=StoppingSpec)
    runtime: RuntimeSpec = Field(default_factory=RuntimeSpec)
    evaluation: EvaluationSpec = Field(default_factory=EvaluationSpec)

    def set(self, *assignments: str) -> Recipe:
        """Return a recipe with other values, as --set gives on the command line: set("optimizer.lr=0.2", "name=fast").

        Values are written as on the command line or in TOML; of two for one key the later wins. Raises RecipeError for
        a key or a value that a recipe cannot have, with what was found and what is allowed.
        """
        return override_all(self, assignments)

    def __repr__(self) -> str:
        epochs = "1 epoch" if self.training.epochs == 1 else f"{self.training.epochs:g} epochs"
        return f"Recipe({self.name!r}, {self.model.name} on {self.data.source!r}, {epochs}, seed {self.training.seed})"

    __str__ = __repr__  # pydantic's own would print all hundred values

    @model_validator(mode="after")
    def _contradictions(self) -> Self:
        problems = [text for wrong, text in self._rules() if wrong]  # all at once, not only the first
        if problems:
            raise ValueError(tr("; ").join(problems))
        return self

    def _rules(self) -> list[tuple[bool, str]]:
        """Return (whether it is so, sentence) for every combination of fields that is impossible."""
        # Only what needs several fields; the range of a single one is in its type.
        model, optimizer, schedule = self.model, self.optimizer, self.schedule
        warmup, unit = parse_duration(schedule.warmup)
        # The steps of an epoch are not known before the data is loaded, so a warm-up in steps has no limit here.
        limit = {"epoch": self.training.epochs, "step": float("inf"), "%": 100}[unit]
        external, has_momentum = ":" in model.name, optimizer.name == "sgd" and optimizer.momentum > 0
        validates, thaws = self.validation.size > 0, model.unfreeze_epoch is not None
        patience, weights = self.stopping.patience, model.weights is not None
        # Without image_size the data decides; then only the largest allowed side is excluded.
        full_size, mixes = self.data.image_size or 512, self.augmentation.mixup > 0 or self.augmentation.cutmix > 0
        return [
            (warmup > limit, tr("schedule.warmup is longer than training.epochs")),
            (
                schedule.name == "step" and parse_duration(schedule.every)[0] == 0,
                tr("schedule.every must not be 0"),
            ),
            (schedule.name == "multistep" and not schedule.milestones, tr("multistep needs schedule.milestones")),
            (model.pretrained and not external, tr("model.pretrained needs a torchvision: or timm: model.name")),
            (model.pretrained and weights, tr("model.pretrained and model.weights exclude each other")),
            (model.freeze == "none" and thaws, tr('model.unfreeze_epoch needs model.freeze = "backbone"')),
            ((self.training.start_size or 0) > full_size, tr("training.start_size is larger than data.image_size")),
            (
                self.training.hard_share < 1 and mixes,
                tr("training.hard_share below 1 needs images of one label each, without augmentation.mixup and cutmix"),
            ),
            (patience > 0 and not validates, tr("stopping.patience needs a validation.size above 0")),
            (optimizer.nesterov and not has_momentum, tr("optimizer.nesterov needs sgd with momentum")),
        ]
