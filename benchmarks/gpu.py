"""Everything that is measured on a GPU, in parts that fit into minutes and continue where the last call stopped.

    CIFARLAB_DATA=... python benchmarks/gpu.py --part a --out results [--peers DIR] [--minutes 9]
    python benchmarks/gpu.py --table --out results

a: time to accuracy of our fast recipes; b: the scripts of other projects, from checkouts in --peers; c: images/s of
ResNets against the script that tutorials have; d: the classics' recipes, shortened; floor: what the card allows.
Results go to part-*.json in --out, and what stands there is not measured again. A call that ends early says what is
left. Nothing is downloaded: --wheels lists what has to be installed. --tiny tries every part on the sample, on a CPU.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from cifarlab.errors import CifarlabError, MachineError
from gpu_parts import accuracy_time, classics, floor, machine, other_projects, throughput
from gpu_parts.pieces import Budget, Settings, Store, run_pieces
from gpu_parts.table import table

PARTS = {
    "a": accuracy_time.pieces,
    "b": other_projects.pieces,
    "c": throughput.pieces,
    "d": classics.pieces,
    "floor": floor.pieces,
}


def main() -> None:
    """Do as the options say; exit code 0 when everything is done, 8 when something is left."""
    options = parse()
    try:
        sys.exit(run(options))
    except CifarlabError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def run(options: argparse.Namespace) -> int:
    """The listing, the table, or the parts."""
    if options.wheels:
        print("\n".join(machine.wheels()))
        return 0
    if options.table:
        print(table(options.out))
        return 0
    settings = choose(options)
    budget = Budget(60 * options.minutes)
    left = []
    for part in PARTS if options.part == "all" else [options.part]:
        store = Store(settings.out / f"part-{part}.json", machine.describe(settings.device))
        left += [f"{part}: {key}" for key in run_pieces(PARTS[part](settings), store, budget)]
    print("everything is done" if not left else f"left for the next call: {', '.join(left)}")
    return 8 if left else 0


def choose(options: argparse.Namespace) -> Settings:
    """Check what is there; raises MachineError without a GPU, unless it is only tried out."""
    if not options.tiny and not torch.cuda.is_available():
        raise MachineError("There is no GPU that torch can use. To try the benchmark on a CPU, add --tiny.")
    return Settings(
        data=options.data or ("sample" if options.tiny else "cifar10"),
        recipes=tuple(options.recipes.split(",")),
        num_seeds=options.seeds,
        peers=options.peers,
        epochs=0.2 if options.tiny else options.epochs,
        out=options.out,
        device="cpu" if options.tiny else "cuda",
        tiny=options.tiny,
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--minutes", type=float, default=9.0, help="begin nothing that would end later")
    parser.add_argument("--data", help="cifar10, or the sample with --tiny")
    parser.add_argument("--recipes", default="speed,speed-plus", help="of a and floor, with commas between them")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each recipe in a and of each script in b")
    parser.add_argument("--epochs", type=float, default=10, help="of each recipe in d, at most")
    parser.add_argument("--peers", type=Path, help="folder with the checkouts that b runs")
    parser.add_argument("--tiny", action="store_true", help="try it out: few steps, the sample, the CPU")
    parser.add_argument("--table", action="store_true", help="print what --out holds as Markdown")
    parser.add_argument("--wheels", action="store_true", help="list what a machine without a network has to be given")
    return parser.parse_args()


if __name__ == "__main__":
    main()
