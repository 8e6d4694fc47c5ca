"""The page of the findings: what the studies of sweeps/ say, out of the tracked runs alone.

A finding is a module with the name of its study and `compute`, and a template of the same name with its words.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lab.findings import best, carry, gradients, memory, runs, search, template, truncation, window
from lstm_lab.findings.runs import SEEDS
from lstm_lab.paths import ROOT
from lstm_lab.science import statistics

if TYPE_CHECKING:
    from mlflow import MlflowClient

FINDINGS = (best, carry, memory, gradients, window, truncation, search)  # in the order of the page


def commands(seeds: int) -> list[list[str]]:
    """The overrides of every study's command, in the order in which they are run."""
    grids = dict.fromkeys(finding.STUDY for finding in FINDINGS if finding is not search)
    return [runs.grid_command(study, seeds) for study in grids] + search.commands(seeds)


def write(client: "MlflowClient", seeds: int) -> Path:
    """Writes FINDINGS.md and its figures; with other than the full number of seeds below mlruns/. Returns its path."""
    folder = ROOT if seeds == SEEDS else ROOT / f"mlruns/findings-{seeds}-seeds"
    studies = runs.Studies(client, seeds)
    found = {module.__name__.rpartition(".")[2]: module.compute(studies) for module in FINDINGS}
    opening = {"runs": len(studies.read), "seeds": seeds, "full": SEEDS, "accepted": statistics.ACCEPTED}
    filled = [template.fill("opening", opening), *(template.fill(name, each.values) for name, each in found.items())]
    pictures = folder / "docs/findings"
    pictures.mkdir(parents=True, exist_ok=True)
    for finding in found.values():
        for name, figure in finding.figures.items():
            figure.savefig(pictures / f"{name}.png", dpi=110)
    page = folder / "FINDINGS.md"
    page.write_text("\n\n".join(filled) + "\n")
    return page
