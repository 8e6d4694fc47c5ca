"""Lists, filters and compares tracked runs: `python src/report.py --help`."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lstm_lab import commandline, texts
from lstm_lab.config import ConfigError
from lstm_lab.hiding import hide_in_word
from lstm_lab.paths import expanded

DOOR = commandline.Door(
    "report",
    about="""\
Lists the latest runs. Compares those that are named, or with --compare those that would be listed: in the
terminal, and on one HTML page that needs nothing else: cost curves overlaid, metrics, what differs between the configs,
fitted curves side by side. With by= runs are compared in groups, over their seeds: medians, exact 95 % intervals, and
ratios paired by seed.""",
    words={
        "runs=ID,ID": "compare these, each named by the first digits of its id, `last` or a study for its best trial;\n"
        "a group stands for its runs",
        "experiment=NAME": "only runs of that experiment",
        "study=NAME": "only the trials of that study, named by its id as well; else a study is one row of the list,\n"
        "and so are the runs of several seeds",
        "filter=CONDITION": "only runs that pass, written as in MLflow's page: filter=\"params.model.cell = 'gru'\"\n"
        "(trials that pass are listed, too)",
        "last=20": "so many, the latest first",
        "best=10": "so many of each data set, the best first, by validation/mse or else mean_last_20_cost",
        "--compare": "compare the runs instead of listing them",
        "--code": "show what differs in their code, too: from commit to commit, and in what was not committed",
        "html=PATH": "compare, and write the page there instead of below mlruns/reports/",
        "by=KEY[,KEY]": "compare in groups of equal settings, of all runs unless it is said which: by=model.cell",
        "metric=NAME": "of that metric instead of the one that runs are ranked by",
        "against=VALUE[,VALUE]": "with the group that has these values, instead of the first",
        "out=PATH": "write the table there as well, as the end of the name says: .md, .csv or .tex",
    },
    closing="""\
Exit code 0, or 2 if there is nothing to report.
With make: make report ARGS="runs=ID,ID\"""",
)


def answer(words: dict[str, str]) -> int:
    """Lists the runs that are meant, or compares them."""
    check_together(words)
    counts = {key: count(key, words[key]) for key in ("last", "best") if key in words}
    with commandline.importing():
        from rich.console import Console

        from lstm_lab.reports import comparison, groups, terminal
    choice = comparison.Choice(
        runs=words["runs"].split(",") if "runs" in words else (),
        experiment=words.get("experiment"),
        study=words.get("study"),
        filter=words.get("filter", ""),
        last=counts.get("last", None if "by" in words else 20),
        best=counts.get("best"),
        trained="by" in words,
    )
    page = expanded(words["html"]) if "html" in words else None
    if not page and words.keys() & {"runs", "by", "--compare", "--code"}:
        page = terminal.default_page()
    command = commandline.typed("report", *map(hide_in_word, sys.argv[1:]))
    if page and "by" in words:
        out = [expanded(words["out"])] if "out" in words else []
        against = texts.choices(words["against"]) if "against" in words else []
        question = groups.Question(words["by"].split(","), words.get("metric"), against)
        terminal.report_groups(choice, question, [page, *out], command, Console())
    else:
        terminal.report(choice, page, command, Console(), with_code="--code" in words)
    return 0


def check_together(words: dict[str, str]) -> None:
    """Raises ConfigError for words that say nothing together."""
    for one, others in (("runs", ("experiment", "study", "filter", "last", "best")), ("best", ("last",))):
        for other in others:
            if one in words and other in words:
                raise ConfigError(f"{other}={words[other]}: {one}={words[one]} says already which runs")
    if "by" in words and "--code" in words:
        raise ConfigError("--code: goes with runs that are compared one by one, as in runs=ID,ID")
    for needing in ("metric", "against", "out"):
        if needing in words and "by" not in words:
            raise ConfigError(f"{needing}={words[needing]}: goes with by=KEY, as in by=model.cell")


def count(key: str, value: str) -> int:
    """A number of runs; ConfigError if it is none."""
    if not re.fullmatch("[1-9][0-9]{0,3}|10000", value):
        raise ConfigError(f"{key}={value}: must be a whole number from 1 to 10000")
    return int(value)


def main() -> int:
    """The command line."""
    return DOOR.enter(answer)


if __name__ == "__main__":
    sys.exit(main())
