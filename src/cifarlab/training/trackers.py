"""Where metrics go while a run trains: metrics.csv and TensorBoard, under the same names."""

from __future__ import annotations

from torch.utils.tensorboard import SummaryWriter

from cifarlab.runs import Row, Run


class Tracker:
    """Writes each epoch's row; after a resume, rows from before the stop are neither lost nor written twice."""

    def __init__(self, run: Run, next_step: int, *, tensorboard: bool) -> None:
        self.run = run
        self.events = SummaryWriter(str(run.path), purge_step=next_step) if tensorboard else None

    def write(self, rows: list[Row]) -> None:
        """Store the table, of which the last row is new."""
        self.run.write_metrics(rows)
        if self.events is None:
            return
        row = rows[-1]
        for name, value in row.items():
            if value is not None and name not in ("epoch", "step"):
                self.events.add_scalar(name, value, int(row["step"] or 0))
        self.events.flush()

    def close(self) -> None:
        """Finish the event file."""
        if self.events is not None:
            self.events.close()
