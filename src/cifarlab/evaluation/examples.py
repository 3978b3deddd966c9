"""The images of a split that are worth showing, stored with its predictions so that showing them needs no data set."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from cifarlab.errors import CheckpointError, cause
from cifarlab.evaluation.calibration import probabilities
from cifarlab.evaluation.metrics import confusion_matrix
from cifarlab.evaluation.parquet_file import read_parquet
from cifarlab.files import write_atomic
from cifarlab.images.images import Images
from cifarlab.language import tr

# How many to keep: drawn from all classes, confident mistakes, unsure hits; most confused pairs, and images of each; of
# all cells of the confusion matrix, and of each.
DRAWN, MISTAKES, UNSURE, PAIRS, PER_PAIR, IN_CELLS, PER_CELL = 64, 500, 64, 10, 4, 600, 20
ROOM_BYTES = 32 * 2**20  # of raw pixels; of larger images than CIFAR's correspondingly fewer are kept
FEWEST = 8  # of each kind, however large the images are
SCHEMA = pa.schema(
    [(name, pa.int64()) for name in ("index", "label", "prediction")]
    + [("confidence", pa.float64()), ("drawn", pa.bool_()), ("png", pa.binary())]
)


@dataclass(frozen=True, eq=False)
class Examples:
    """Some images of a split, in ascending order of their indices.

    indices, labels, predictions: int64 (n,); confidences: float64 (n,), the highest probability of each; drawn: bool
    (n,), whether an image was chosen by its class alone, whatever was predicted; png: the images as PNG files.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    confidences: NDArray[np.float64]
    drawn: NDArray[np.bool_]
    png: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the prediction is the label, (n,)."""
        return np.asarray(self.labels == self.predictions)

    def pixels(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the images at these places of the table, uint8 (len(places), 3, H, W).

        Raises CheckpointError if one cannot be decoded.
        """
        return np.stack([picture(self.png[place]) for place in places])

    def sample(self, limit: int = DRAWN) -> NDArray[np.int64]:
        """Places of the drawn images, with the classes taking turns."""
        places = np.flatnonzero(self.drawn)
        return places[in_turns(self.labels[places])][:limit]

    def mistakes(self, limit: int = MISTAKES) -> NDArray[np.int64]:
        """Places of the mistakes, most confident first."""
        return _by(-self.confidences, np.flatnonzero(~self.right))[:limit]

    def unsure_hits(self, limit: int = UNSURE) -> NDArray[np.int64]:
        """Places of the right predictions, least confident first."""
        return _by(self.confidences, np.flatnonzero(self.right))[:limit]

    def confused(self, label: int, prediction: int, limit: int = PER_PAIR) -> NDArray[np.int64]:
        """Places of images of one class that were predicted as another, most confident first."""
        places = np.flatnonzero((self.labels == label) & (self.predictions == prediction))
        return _by(-self.confidences, places)[:limit]

    def in_cells(self, matrix: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places of images of the cells of a confusion matrix (C, C), in the order of `in_cells`."""
        return in_cells(self.labels, self.predictions, self.confidences, matrix)


def write(path: Path, images: Images, logits: NDArray[np.float32], temperature: float) -> None:
    """Store the images worth showing: index, label, prediction, confidence and PNG.

    Raises MachineError if the disk is full or read-only.
    """
    confidences = probabilities(logits, temperature).max(axis=1)
    chosen = choose(logits, images.labels, confidences, images.pixels[:1].nbytes)
    png = [encode(images.pixels[index]) for index in chosen]
    drawn = np.isin(chosen, draw(images.labels, _limit(DRAWN, images.pixels[:1].nbytes)))
    columns = [chosen, images.labels[chosen], logits.argmax(axis=1)[chosen], confidences[chosen], drawn, png]
    file = io.BytesIO()
    pq.write_table(pa.table(columns, SCHEMA), file, compression="none")  # PNGs are compressed already
    write_atomic(path, file.getvalue())


def read(path: Path) -> Examples:
    """Read what `write` stored; raises CheckpointError if the file is missing or something else."""
    try:
        table = _completed(read_parquet(path))
        if table.schema.remove_metadata() != SCHEMA or any(column.null_count for column in table.columns):
            raise ValueError(tr("it is not a table of examples"))
        indices, labels, predictions, confidences, drawn = (table[name].to_numpy() for name in SCHEMA.names[:-1])
        lowest = min((column.min() for column in (indices, labels, predictions) if len(column)), default=-1)
        if lowest < 0 or (np.diff(indices) <= 0).any() or not np.isfinite(confidences).all():
            raise ValueError(tr("its numbers contradict each other"))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise CheckpointError(tr("Cannot read the examples {path}: {cause}.", path=path, cause=cause(error))) from error
    return Examples(indices, labels, predictions, confidences, drawn, tuple(table["png"].to_pylist()))


def _completed(table: pa.Table) -> pa.Table:
    """Add what the first versions did not store: the images that they drew were the first of the split."""
    if "drawn" in table.column_names or "index" not in table.column_names:
        return table
    drawn = table["index"].to_numpy() == np.arange(len(table))
    return table.add_column(SCHEMA.get_field_index("drawn"), SCHEMA.field("drawn"), [drawn])


def in_turns(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the order (N,) in which classes take turns: the first image of each, then the second, and so on."""
    # Data sets made of folders come class by class, so their first images would all be of one class.
    return np.argsort(_turns(labels), kind="stable")


def draw(labels: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Return the indices of `limit` images of all classes in equal parts, each class at even distances; ascending."""
    shares = np.bincount(labels[in_turns(labels)[:limit]])
    chosen = []
    for label, number in enumerate(shares):
        members = np.flatnonzero(labels == label)
        # Not the first ones: neighbours in a data set may be pictures of one series.
        chosen.append(members[np.linspace(0, len(members) - 1, number).round().astype(np.int64)])
    return np.sort(np.concatenate(chosen))


def in_cells(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    confidences: NDArray[np.float64],
    matrix: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return IN_CELLS images at most, PER_CELL of each cell of a confusion matrix (C, C), for who opens a cell.

    Cells take turns, those with the most images first. Mistakes come most confident first, hits least confident first:
    what is nearest to the border between right and wrong says most about a diagonal cell.
    """
    order = np.argsort(np.where(labels == predictions, confidences, -confidences), kind="stable")
    cells = (labels * len(matrix) + predictions)[order]
    turns = _turns(cells)
    places = np.lexsort((cells, -matrix.ravel()[cells], turns))  # the last key sorts first
    return order[places[turns[places] < PER_CELL]][:IN_CELLS]


def choose(
    logits: NDArray[np.float32], labels: NDArray[np.int64], confidences: NDArray[np.float64], image_bytes: int
) -> NDArray[np.int64]:
    """Return the indices of the images worth showing, ascending; `image_bytes` is the size of one."""
    predictions = logits.argmax(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    right = np.flatnonzero(predictions == labels)

    def limit(number: int) -> int:
        return _limit(number, image_bytes)

    matrix = confusion_matrix(logits, labels)
    errors = matrix - np.diag(np.diag(matrix))
    cells = np.argsort(-errors, axis=None, kind="stable")[: max(1, limit(PAIRS * PER_PAIR) // PER_PAIR)]
    pairs = [divmod(int(cell), len(matrix)) for cell in cells]
    confused = [wrong[(labels[wrong] == row) & (predictions[wrong] == column)] for row, column in pairs]
    groups = [  # they overlap, and np.unique keeps each image once, in ascending order
        draw(labels, limit(DRAWN)),
        _by(-confidences, wrong)[: limit(MISTAKES)],
        _by(confidences, right)[: limit(UNSURE)],
        *(_by(-confidences, group)[:PER_PAIR] for group in confused),
        in_cells(labels, predictions, confidences, matrix)[: limit(IN_CELLS)],
    ]
    return np.unique(np.concatenate(groups)).astype(np.int64)


def _limit(number: int, image_bytes: int) -> int:
    """Return how many images of a kind there is room for, of which `number` are wanted."""
    wanted = DRAWN + MISTAKES + UNSURE + PAIRS * PER_PAIR + IN_CELLS
    share = min(1.0, ROOM_BYTES / (wanted * image_bytes))
    return number if share == 1 else max(FEWEST, int(number * share))


def _turns(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the turn of each image (N,): its place among those of its group."""
    by_group = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[by_group], groups[by_group])
    turns = np.empty(len(groups), np.int64)
    turns[by_group] = np.arange(len(groups)) - starts
    return turns


def _by(values: NDArray[np.float64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places in the order of their values, among equals the earlier first."""
    return places[np.argsort(values[places], kind="stable")]


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """Write uint8 (3, H, W) as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file, "PNG")
    return file.getvalue()


def picture(png: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a PNG file, uint8 (3, H, W); raises CheckpointError if it cannot be decoded."""
    try:
        # PNG only, so that a file that was tampered with reaches no other decoder.
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            return np.asarray(image.convert("RGB"), np.uint8).transpose(2, 0, 1)
    except (OSError, ValueError, SyntaxError) as error:
        raise CheckpointError(tr("An example image cannot be decoded: {cause}.", cause=error)) from error
