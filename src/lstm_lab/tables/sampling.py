"""The time stamps of a series: at what interval they lie, which are left out, and how they go on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lstm_lab.config import ConfigError

DAY = np.timedelta64(1, "D").astype("m8[us]")
LOOKED_AT = 100_000  # stamps that tell the interval
SAME_DAY = 5  # days by which a month's last working day, or the like, is early or late
TOLERANCE = 0.25  # of an interval, by which a stamp may be early or late
NAMES = {
    604_800_000_000: "week",
    86_400_000_000: "day",
    3_600_000_000: "hour",
    60_000_000: "minute",
    1_000_000: "second",
    1000: "millisecond",
}


@dataclass(frozen=True)
class Sampling:
    """The interval from sample to sample: so many microseconds ('us'), months ('M'), or working days ('B').

    Months are from one last day to the next, if `at_end`, and else from one such day of the month to the next.
    """

    unit: str
    interval: int
    at_end: bool = False

    @property
    def name(self) -> str:
        """Such as '10 minutes'."""
        count, what = self.interval, "working day" if self.unit == "B" else "month"
        if self.unit == "M" and count % 12 == 0:
            count, what = count // 12, "year"
        if self.unit == "us":
            size, what = next(((size, name) for size, name in NAMES.items() if count % size == 0), (1, "microsecond"))
            count //= size
        return what if count == 1 else f"{count:,} {what}s"

    @property
    def season(self) -> int:
        """How many samples make a season, as of `season_of`; of working days a week has five."""
        if self.unit == "B":
            return 1 if 5 % self.interval else 5 // self.interval
        return season_of(np.timedelta64(self.interval, self.unit))  # type: ignore[call-overload]

    def steps(self, times: np.ndarray) -> np.ndarray:
        """How many intervals lie from each of the stamps [samples] to the next, float64 [samples - 1]."""
        if self.unit == "B":
            days = times.astype("M8[D]")
            return np.busday_count(days[:-1], days[1:]).astype(float)
        at = times.astype("M8[M]") if self.unit == "M" else times
        return np.diff(at).astype(np.int64) / self.interval

    def after(self, time: np.datetime64, count: np.ndarray) -> np.ndarray:
        """The stamps so many intervals [samples] after one; in a month that is too short, its last day."""
        time = time.astype("M8[us]")
        if self.unit == "us":
            return time + (count * self.interval).astype("m8[us]")
        day = time.astype("M8[D]")
        if self.unit == "B":
            return np.busday_offset(day, count, roll="backward").astype("M8[us]") + (time - day)
        month, one = time.astype("M8[M]"), np.timedelta64(1, "D")
        later = month + count * self.interval
        last = (later + 1).astype("M8[D]") - one
        if not self.at_end:
            last = np.minimum(later.astype("M8[D]") + (day - month.astype("M8[D]")), last)
        return last.astype("M8[us]") + (time - day)


def season_of(interval: np.timedelta64) -> int:
    """How many samples make a season, if they are so far apart; 1 if that is no whole number.

    The season is a day of samples within it, a week of days, a year of longer intervals; it has 52 weeks or 12 months.
    These are the shortest periods of Hyndman's 'Seasonal periods' (2014) but for those within the hour. (The M4
    competition differs in days and weeks: it took them to have none.)
    """
    day = np.timedelta64(1, "D")
    season: np.timedelta64
    if np.datetime_data(interval)[0] in ("Y", "M"):  # neither has a fixed number of days
        season = np.timedelta64(12, "M")
    elif interval < day:
        season = day
    else:
        season = 7 * day if interval == day else 52 * 7 * day
    return 1 if season % interval else int(season // interval)


def calendar_of(times: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    """Where in a day ('hour'), a week ('weekday') or a year ('month') the stamps [...] lie: [..., 2 kinds].

    Each as the sine and the cosine of an angle, so that midnight is as near to 23:00 as to 1:00.
    """
    days = times.astype("M8[D]")
    shares = {
        "hour": (times - days) / DAY,
        "weekday": (days.astype(np.int64) + 3) % 7 / 7,  # the first of January 1970 was a Thursday
        "month": times.astype("M8[M]").astype(np.int64) % 12 / 12,
    }
    angles = [2 * np.pi * shares[kind] for kind in kinds]
    return np.stack([wave(angle) for angle in angles for wave in (np.sin, np.cos)], axis=-1)


def sampling_of(times: np.ndarray) -> Sampling | None:
    """The interval that lies most often from one of the stamps [samples] to the next; None for less than two."""
    times = times[:LOOKED_AT]
    if len(times) < 2:
        return None
    apart = np.abs(np.diff(times))
    values, counts = np.unique(apart[apart > np.timedelta64(0)], return_counts=True)
    usual = values[np.argmax(counts)] if len(values) else DAY
    even = (apart == usual).all() and len(apart) > 3  # as no months are
    if usual >= 28 * DAY and not even and (monthly := months_of(times)):
        return monthly
    if usual == DAY and len(times) > 14 and np.is_busday(times.astype("M8[D]")).all():
        return Sampling("B", 1)
    return Sampling("us", int(usual.astype(np.int64)))


def months_of(times: np.ndarray) -> Sampling | None:
    """So many months, if the stamps [samples] are of nearly the same day of different ones."""
    days, months = times.astype("M8[D]"), times.astype("M8[M]")
    apart, of_month = np.diff(months).astype(int), (days - months.astype("M8[D]")).astype(int)
    if (apart <= 0).any() or np.ptp(of_month) > SAME_DAY:
        return None
    at_end = bool(((days + 1).astype("M8[M]") > months).all())
    values, counts = np.unique(apart, return_counts=True)
    return Sampling("M", int(values[np.argmax(counts)]), at_end)


def gaps_of(times: np.ndarray, sampling: Sampling, where: Callable[[int], str]) -> tuple[np.ndarray, np.ndarray]:
    """Behind which stamps [samples] others are left out, and how many are: two arrays [gaps].

    ConfigError for stamps that are doubled, unsorted or at no such interval; `where` says where a sample stands.
    """
    steps = sampling.steps(times)
    wrong = (times[1:] <= times[:-1]) | (np.rint(steps) < 1) | (np.abs(steps - np.rint(steps)) > TOLERANCE)
    if wrong.any():
        i = int(np.argmax(wrong))
        written = [str(time).replace("T", " ").removesuffix(".000000") for time in times[i : i + 2]]
        before, now = (text.removesuffix(" 00:00:00") for text in written)
        if now == before:
            said = f"the time stamp {now} stands there twice; data.series=COLUMN tells several series of one file apart"
        elif times[i + 1] < times[i]:
            said = f"the time stamp {now} comes after {before}; sort the file by time"
        else:
            said = (
                f"the time stamp {now} comes after {before}, and there is one every {sampling.name}; without data.time "
                "the samples are taken as they come"
            )
        raise ConfigError(f"{where(i + 1)}: {said}")
    behind = np.flatnonzero(steps > 1.5)
    return behind, np.rint(steps[behind]).astype(np.int64) - 1
