"""What is questionable about the images that a run was trained and evaluated on."""

from __future__ import annotations

from markupsafe import Markup

from cifarlab.drawing.page import Section, paragraph, warning
from cifarlab.pages.report.material import Material


def data_quality(material: Material) -> Section | None:
    """The warnings that the run stored; nothing where it did not look."""
    data = material.facts.data
    if data.warnings is None:
        return None
    parts = [warning(each.text) for each in data.warnings]
    looked_at = ["training images", *(["validation images"] if data.num_val else [])]
    looked_at += ["test images"] if data.test_compared else []
    looked = f"{', '.join(looked_at[:-1])} and {looked_at[-1]}" if len(looked_at) > 1 else looked_at[0]
    if not parts:
        parts.append(
            paragraph("No image has a copy in another split or under another label, and no class is too small.")
        )
    if not data.test_compared:
        source = "" if material.recipe is None else f" {material.recipe.data.source}"
        parts.append(paragraph(f"The test images were not looked at: cifarlab data verify{source} looks at all."))
    return Section("Data", Markup().join(parts), f"Looked at were the {looked}, pixel by pixel.")
