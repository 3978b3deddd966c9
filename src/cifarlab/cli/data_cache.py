"""`cifarlab data cache`: the decoded images that are kept on this machine."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer

from cifarlab.cli.options import AsJson
from cifarlab.cli.output import echo, echo_json
from cifarlab.language import tr

DAY = 86400
"""Seconds."""

Part = Annotated[str | None, typer.Argument(metavar="NAME", help="Only sources whose path contains this.")]
Clear = Annotated[bool, typer.Option("--clear", help="Remove them; they are decoded again when they are needed.")]
OlderThan = Annotated[
    float | None, typer.Option(metavar="DAYS", min=0, help="Only what has not been used for this long.")
]


def cache(name: Part = None, clear: Clear = False, older_than: OlderThan = None, as_json: AsJson = False) -> None:
    """Show the decoded images and unpacked archives that are kept so that the next start is fast, or remove them."""
    from cifarlab.images.decoded import list_kept, remove, size_bytes
    from cifarlab.images.describe import aligned
    from cifarlab.images.folders.unpack import list_unpacked, remove_unpacked
    from cifarlab.images.sources import cache_dir

    every, days = list_kept(cache_dir()), older_than or 0
    chosen = [each for each in every if (name or "") in each.source and each.days_unused >= days]
    archives = [
        each
        for each in list_unpacked(cache_dir())
        if (name or "") in each.source and time.time() - each.last_used >= days * DAY
    ]
    unpacked_bytes = sum(each.size_bytes for each in archives)  # before they are removed
    if clear:
        remove(cache_dir(), chosen)
        remove_unpacked(archives)
    # not the sum over what was chosen: splits with the same pixels share one file, which stays while one of them does
    freed = size_bytes(every) - size_bytes(list_kept(cache_dir())) if clear else 0
    if as_json:
        unpacked = [{**asdict(each), "place": str(each.place)} for each in archives]
        echo_json([each | {"removed": clear} for each in (*(kept.to_dict() for kept in chosen), *unpacked)])
        return
    rows = [[tr("source"), tr("split"), tr("images"), "px", "MB", tr("last used")]]
    for each in chosen:
        day = time.strftime("%Y-%m-%d", time.localtime(each.last_used))
        size = f"{each.size_bytes / 1e6:,.1f}"
        rows.append([tr(each.source), each.split, f"{each.num_images:,}", str(each.side), size, day])
    for archive in archives:
        day = time.strftime("%Y-%m-%d", time.localtime(archive.last_used))
        # an unpacked archive is not decoded yet, so its images have no common side
        rows.append(
            [archive.source, tr("unpacked"), f"{archive.num_files:,}", "", f"{archive.size_bytes / 1e6:,.1f}", day]
        )
    if rows[1:]:
        echo("\n".join(aligned(rows)))
    message = (
        tr("{n} decoded splits removed, {size:,.1f} MB freed, in {folder}")
        if clear
        else tr("{n} decoded splits kept, {size:,.1f} MB, in {folder}")
    )
    size_mb = (freed if clear else size_bytes(chosen)) / 1e6
    echo(message.format(n=len(chosen), size=size_mb, folder=cache_dir() / "decoded"))
    if archives:
        message = (
            tr("{n} unpacked archives removed, {size:,.1f} MB, in {folder}")
            if clear
            else tr("{n} unpacked archives kept, {size:,.1f} MB, in {folder}")
        )
        echo(message.format(n=len(archives), size=unpacked_bytes / 1e6, folder=cache_dir() / "unpacked"))
