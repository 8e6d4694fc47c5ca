"""Which runs the pages at the repo's root cite: these are evidence, and stay."""

import re
from dataclasses import dataclass

from lstm_lab.findings import page as findings
from lstm_lab.paths import ROOT
from lstm_lab.studies.declaration import named_after, study_name

PAGES = ("FINDINGS.md", "PAPERS.md", "RECORDS.md")
ID = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{8,32}(?![0-9A-Za-z])")  # of a run, or its first digits
SWEEP = re.compile(r"-m (sweeps=[^`|\n]+)")  # of a command that runs a study


@dataclass(frozen=True)
class Cited:
    """What each page cites: ids of runs or their first digits, and names of studies, each with the page's name."""

    ids: dict[str, str]
    studies: dict[str, str]

    def page_with(self, ident: str) -> str | None:
        """The page that cites a run by that id, or one that begins so; None if none does."""
        return next((self.ids[word] for word in self.ids if word.startswith(ident) or ident.startswith(word)), None)


def cited() -> Cited:
    """What the pages cite, as far as they are there.

    The studies of FINDINGS.md count whoever ran them: the page names the runs of one store, another has its own.
    """
    ids: dict[str, str] = {}
    studies: dict[str, str] = {}
    for page in PAGES:
        file = ROOT / page
        if not file.exists():
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        ids |= dict.fromkeys(ID.findall(text), page)
        commands = [found.split() for found in SWEEP.findall(text)]
        commands += findings.commands(findings.SEEDS) if page == "FINDINGS.md" else []
        studies |= {study_name(named_after(words[0].partition("=")[2]), words): page for words in commands}
    return Cited(ids, studies)
