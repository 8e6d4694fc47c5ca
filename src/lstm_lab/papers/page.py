"""PAPERS.md: what papers say of long memory, trained again, out of the tracked runs alone.

A section is a module with `compute`, and a template of the same name with its words.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lab.findings.runs import Studies, grid_command
from lstm_lab.findings.template import fill
from lstm_lab.papers import carried, gates, rows, sunspots, truncation
from lstm_lab.paths import ROOT

if TYPE_CHECKING:
    from mlflow import MlflowClient

SEEDS = 10  # of each study as its file has it
SECTIONS = (rows, gates, carried, truncation, sunspots)  # in the order of the page
REDUCED = (rows,)  # those of a page with fewer seeds
HERE = Path(__file__).parent


def studies_of(seeds: int) -> list[str]:
    """The files of sweeps/ that the page is made from."""
    if seeds < SEEDS:
        return rows.studies_of(reduced=True)
    others = [gates.STUDY, carried.CARRIED, carried.RESET, *truncation.STUDIES, sunspots.STUDY]
    return list(dict.fromkeys([*rows.studies_of(reduced=False), *others]))


def commands(seeds: int) -> list[list[str]]:
    """The overrides of every study's command, in the order in which they are run."""
    return [grid_command(study, seeds, SEEDS) for study in studies_of(seeds)]


def write(client: "MlflowClient", seeds: int) -> Path:
    """Writes PAPERS.md and its figures; with other than the full number of seeds below mlruns/. Returns its path."""
    folder = ROOT if seeds == SEEDS else ROOT / f"mlruns/papers-{seeds}-seeds"
    studies = Studies(client, seeds, SEEDS)
    sections = REDUCED if seeds < SEEDS else SECTIONS
    found = {module.__name__.rpartition(".")[2]: module.compute(studies) for module in sections}
    hours = sum(run.seconds or 0 for run in studies.read.values()) / 3600
    opening = {"runs": len(studies.read), "seeds": seeds, "full": SEEDS, "hours": hours}
    filled = [fill("opening", opening, HERE), *(fill(name, each.values, HERE) for name, each in found.items())]
    pictures = folder / "docs/papers"
    pictures.mkdir(parents=True, exist_ok=True)
    for finding in found.values():
        for name, figure in finding.figures.items():
            figure.savefig(pictures / f"{name}.png", dpi=110)
    page = folder / "PAPERS.md"
    page.write_text("\n\n".join(filled) + "\n")
    return page
