"""Table of the models, as people read it."""

from __future__ import annotations

from rich.console import Console

from artfp.data.tables import rich_table
from artfp.generators import build_model
from artfp.generators.report import MODEL_COLUMNS, ModelRow, describe_models
from tests.golden import Golden

ROWS = [
    ModelRow("dcgan", "unconditional", (16, 32, 64), 1.6543, 6.1, "Radford et al., arXiv 1511"),
    ModelRow("ddpm", "unconditional", (32,), None, None, "Ho et al., [NeurIPS] 2020"),
]


def test_the_table(golden: Golden) -> None:
    console = Console(width=120, force_terminal=False)
    with console.capture() as captured:
        console.print(rich_table(ROWS, MODEL_COLUMNS, boxed=True))
    golden("models.txt", captured.get())


def test_parameters_are_counted() -> None:
    rows = {row.name: row for row in describe_models()}
    count = sum(p.numel() for p in build_model("dcgan", 32).parameters())
    assert rows["dcgan"].small_parameters == count / 1e6
    assert rows["cut"].kind == "translator"
