"""What goes, told in the terminal; and removed, if that is asked for."""

import contextlib
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lstm_lab.commandline import make, say, typed, working
from lstm_lab.config import ConfigError
from lstm_lab.hiding import hide
from lstm_lab.paths import ROOT
from lstm_lab.records import store
from lstm_lab.records.reading import printable
from lstm_lab.studies import database
from lstm_lab.tidying import leftovers, plan, studies
from lstm_lab.tidying.plan import KINDS, Going, Plan

NAMED = 8  # of a kind that are told by name, and runs that stay
MEGABYTE = 10**6


@database.faults_told()
@store.faults_told()
def tidy(days: int | None, for_good: bool, console: Console) -> None:
    """Says what nobody owns any more and, if it is to go for good, removes it.

    With `days`, runs that failed or were killed longer ago are among it. ConfigError or StoreError if there is no store
    to ask.
    """
    store.check_store(reading=not for_good)
    database = store.database_file()
    if database and not database.exists():  # then nothing would be anybody's
        if not leftovers.left_behind():
            say(console, "nothing to remove: there is no run yet")
            return
        raise ConfigError(f"there is no run yet ({database} is not there): whose anything is cannot be told without it")
    alone = store.locked(ROOT / "mlruns/.tidy.lock") if for_good else contextlib.nullcontext()
    with alone, studies.opened() as storage, working(console, "looking for what nobody owns"):
        found = plan.make(store.open_store(), storage, days)
        gone = [one for one in in_order(found.going) if one.remove()] if for_good else found.going
    report(found, gone, days, console)
    if for_good:
        say(console, "removed" if gone else "nothing to remove", "green")
    elif gone:
        say(console, f"nothing is removed yet; this removes it: {command(days)}")
    else:
        say(console, "nothing to remove")


def in_order(going: Sequence[Going]) -> list[Going]:
    """What goes in the order in which it does: runs last, by which it is known what was theirs."""
    return sorted(going, key=lambda one: -KINDS.index(one.kind))


def command(days: int | None) -> str:
    """What to type to have it removed."""
    older = [] if days is None else [f"older={days}"]
    words = " ".join(["--yes", *older])
    if make("gc") == "make gc":
        return f'make gc ARGS="{words}"' if older else "make gc ARGS=--yes"
    return typed("tidy", "--yes", *older)


def report(found: Plan, gone: Sequence[Going], days: int | None, console: Console) -> None:
    """A table of kinds, the names of few, and what stays and why."""
    if gone:
        console.print(table_of(gone))
    for kind in KINDS:
        names = [one.name for one in gone if one.kind == kind]
        if names:
            say(console, f"{kind}: {listed(names)}", "dim")
    why_kept(found.kept, console)
    if store.database_file() is None:
        where = printable(hide(store.tracking_uri()))
        say(console, f"runs in {where} are for its owner to remove: `mlflow gc` does, where its database is", "yellow")
    if found.unknown:
        say(console, unknown_in_words(found), "yellow")


def table_of(gone: Sequence[Going]) -> Table:
    """How many there are of each kind, and the room that they take on the disk."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", show_footer=True)
    table.add_column("what", "in all")
    table.add_column("how many", f"{len(gone):,}", justify="right")
    table.add_column("MB", megabytes(gone), justify="right")
    for kind in KINDS:
        some = [one for one in gone if one.kind == kind]
        if some:
            table.add_row(Text(kind), f"{len(some):,}", megabytes(some))
    return table


def megabytes(gone: Sequence[Going]) -> str:
    """The room that they take, in MB."""
    return f"{sum(one.size for one in gone) / MEGABYTE:,.1f}"


def listed(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    more = [f"and {len(names) - NAMED:,} more"] if len(names) > NAMED else []
    return ", ".join([*(printable(name, 60) for name in names[:NAMED]), *more])


def why_kept(kept: Mapping[str, str], console: Console) -> None:
    """Says which runs stay that were to go, and why."""
    for run_id, why in list(kept.items())[:NAMED]:
        say(console, f"run {run_id[:8]} stays: {why}", "yellow")
    if len(kept) > NAMED:
        say(console, f"... and {len(kept) - NAMED:,} runs more", "yellow")


def unknown_in_words(found: Plan) -> str:
    """What is said of what may be another store's."""
    named = ", ".join(printable(hide(address)) for address in found.unasked[:NAMED])
    place = store.STORES.relative_to(ROOT)
    return (
        f"{found.unknown:,} files and folders of runs that this store does not have stay: they may be those of stores "
        f"that cannot be asked from here ({named}); one that is no more, take out of {place}"
    )
