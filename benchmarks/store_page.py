"""The sections of RESULTS.md on a store of many runs, and on long cost curves and files."""

from statistics import median
from typing import Any

from results import judge, number, ratio, ratios, spread, table

ANSWERS = {
    "list": "`report.py`",
    "best": "`report.py best=10`",
    "filter": "`report.py filter=...`, of a parameter and a metric",
}
ANSWER_SECONDS, COMPARE_SECONDS, START, SWEEP = 2.0, 10.0, 1.05, 1.05  # the aims


def many_runs(part: dict[str, Any] | None) -> list[str]:
    """What a store of many runs costs, beside the aims."""
    if not part:
        return []
    measured = part["measured"]
    seconds, until, page = measured["seconds"], measured["until_first_step"], measured["page"]
    rows = []
    for name, label in ANSWERS.items():
        beyond = [one - imports for one, imports in zip(seconds[name], seconds["imports"], strict=True)]
        met = median(beyond) <= ANSWER_SECONDS
        rows.append([f"{label}, s beyond its imports", f"at most {ANSWER_SECONDS:g}", spread(beyond), judge(met)])
    compared = f"500 runs compared, s in all; a page of {page['bytes'] / 1e6:.1f} MB, {page['elements']:,} elements"
    met = median(seconds["compare"]) <= COMPARE_SECONDS
    rows.append([compared, f"at most {COMPARE_SECONDS:g}", spread(seconds["compare"]), judge(met)])
    pairs = {
        "`train.py` until its first step, an empty store being 1": (until["filled"], until["empty"], START),
        f"a study of {measured['trials']} trials, the same": (seconds["sweep, filled"], seconds["sweep, empty"], SWEEP),
    }
    for label, (filled, empty, most) in pairs.items():
        rows.append([label, f"at most {most:g}", ratio(filled, empty), judge(median(ratios(filled, empty)) <= most)])
    sizes = {name: count / 1e6 for name, count in measured["bytes"].items()}
    return [
        f"{measured['runs']:,} runs of 200 steps, made through the program's own layers without training, in",
        f"{measured['filling'] / 60:.0f} minutes: {sizes['mlflow.db']:,.0f} MB of database, {sizes['mlruns']:,.0f} MB",
        "of files. Of 500 runs 41 are a study and its trials, 22 two groups of ten seeds, the rest stand alone.",
        "",
        *table(["what", "aim", "measured", ""], rows),
    ]


def curves_and_files(curves: dict[str, Any] | None, files: dict[str, Any] | None) -> list[str]:
    """Time, memory and room on disk of long cost curves and of long files."""
    body: list[str] = []
    if curves:
        head = ["steps", "points in the store", "s in all", "of the processor, s", "peak memory, MB"]
        rows = [
            [
                *(f"{one['steps']:,}", f"{one['points']:,}", number(one["seconds"]), number(one["processor_seconds"])),
                *(f"{one['megabytes']:,.0f}", f"{one['database_bytes'] / 1e6:,.1f}"),
                f"{one['artifact_bytes'] / 1e6:,.1f}",
            ]
            for one in curves["measured"]
        ]
        body += [
            "Whole tracked runs of `experiment=long`, metrics alone: the usual number of points in the store, and one",
            "a step. The file cost.npy has every step in any case.",
            "",
            *table([*head, "database, MB", "files, MB"], rows),
        ]
    if files:
        head = ["rows of the file", "file, MB", "until the first step, s", "s in all", "of the processor, s"]
        rows = [
            [
                f"{one['rows']:,}{', evaluated' if one['evaluated'] else ''}",
                *(f"{one['file_bytes'] / 1e6:,.0f}", number(one["until_first_step"]), number(one["seconds"])),
                *(number(one["processor_seconds"]), f"{one['megabytes']:,.0f}", f"{one['left_bytes'] / 1e6:,.1f}"),
            ]
            for one in files["measured"]
        ]
        body += [
            *([""] if body else []),
            "Runs of 20 steps on a file with a time stamp and a value in each row. While such a run lasts it has 16",
            "bytes a row in temporary files. One that is evaluated goes through all that it was not trained on.",
            "",
            *table([*head, "peak memory, MB", "left below mlruns/, MB"], rows),
        ]
    return body
