"""Time stamps: texts of the forms that programs and people write, as datetime64[us] in UTC.

A stamp's digits are where its shape says, and a column has few shapes: '0000-00-00 00:00' of all stamps to the minute.
So a shape is understood once, and the digits of all stamps that have it are read together.
"""

import functools
import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow

LONGEST = 64  # characters of a stamp
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
CLOCK = (
    r"(?:(?:[T ]|, ?| at )(?P<H>00?)(?::?(?P<M>00)(?::?(?P<S>00)(?:[.,:](?P<f>0{1,9}))?)?)?"
    r" ?(?P<half>[AP]\.?M\.?)?(?: ?(?:Z|UTC|GMT|(?P<sign>[+-])(?P<zh>00)(?::?(?P<zm>00))?))?)?"
)
NAME = rf"(?P<b>{'|'.join(MONTHS)})[a-z]*\.?"
DAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?"
SHAPES = tuple(
    re.compile(shape, re.IGNORECASE)
    for shape in (
        rf"(?P<Y>0000)(?:-(?P<m>00)(?:-(?P<d>00){CLOCK})?)?Z?",
        rf"(?P<Y>0000)([-/.])(?P<m>00?)\2(?P<d>00?){CLOCK}",
        r"(?P<Y>0000)[/.](?P<m>00)",
        rf"(?P<Y>0000)(?P<m>00)(?P<d>00){CLOCK}",
        r"(?P<Y>0000)(?P<m>00)(?P<d>00)(?P<H>00)(?P<M>00)(?:(?P<S>00))?",
        rf"(?P<p>00?)([-/.]|\. )(?P<q>00?)\2(?P<Y>0000|00){CLOCK}",
        r"(?P<m>00)[/.-](?P<Y>0000)",
        rf"{DAY}(?P<d>00?)(?:[-/ .]|\. )?{NAME}[-/ .,]? ?(?P<Y>0000|00){CLOCK}",
        rf"{DAY}{NAME} (?P<d>00?),? (?P<Y>0000){CLOCK}",
        rf"{NAME}[- /]?(?P<Y>0000)",
        rf"(?P<Y>0000)[- /]{NAME}(?:[- /](?P<d>00?))?{CLOCK}",
        r"(?P<epoch>0{10})(?:\.(?P<f>0{1,9}))?",
        r"(?P<milli>0{13})(?:\.0+)?",
        r"(?P<micro>0{16})",
        r"(?P<nano>0{19})",
    )
)
TO_ZERO = np.arange(256, dtype=np.uint8)
TO_ZERO[ord("1") : ord("9") + 1] = ord("0")


class BadStampError(Exception):
    """The stamp of that number among those given is none."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class OtherOrderError(Exception):
    """The stamps cannot be day first, as was assumed while nothing told: they are month first."""


class Stamps:
    """Reads a column of stamps, some at a time; `form` is the first one.

    Day or month first is what a part above 12 tells. Until one does it is day first, or what `month_first` says.
    """

    def __init__(self, month_first: bool = False) -> None:
        self.month_first, self.known, self.ordered = month_first, False, False
        self.form = ""

    def read(self, texts: "pyarrow.StringArray") -> np.ndarray:
        """The times [stamps], NaT for an empty text; BadStampError for any other that is none."""
        import pyarrow

        texts = pyarrow.concat_arrays([texts])  # its own buffers, from their beginning on
        ends = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset :][: len(texts) + 1]
        chars = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
        lengths = np.diff(ends)
        times = np.full(len(texts), "NaT", "M8[us]")
        if not self.form and lengths.any():
            self.form = texts[int(np.argmax(lengths > 0))].as_py()
        bad = np.flatnonzero(lengths > LONGEST)[:1].tolist()
        for length in np.unique(lengths[(lengths > 0) & (lengths <= LONGEST)]).tolist():
            rows = np.flatnonzero(lengths == length)
            stamps = chars[ends[rows][:, None] + np.arange(length)]
            shapes = TO_ZERO[stamps]
            while len(rows):
                same = (shapes == shapes[0]).all(axis=1)
                try:
                    times[rows[same]] = self.read_shape(shapes[0].tobytes(), stamps[same], rows[same])
                except BadStampError as error:
                    bad.append(error.index)
                rows, stamps, shapes = rows[~same], stamps[~same], shapes[~same]
        if bad:
            raise BadStampError(min(bad))
        return times

    def read_shape(self, shape: bytes, stamps: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The times of the stamps [stamps, characters], uint8, all of that shape, which have those numbers."""
        match = match_shape(shape)
        if match is None:
            raise BadStampError(int(rows[0]))
        places = {name: match.span(name) for name, text in match.groupdict().items() if text is not None}
        parts = {name: digits(stamps[:, a:b]) for name, (a, b) in places.items() if match[name].strip("0") == ""}
        if "p" in parts:
            self.order(parts, rows)
        if "b" in places:
            parts["m"] = np.full(len(rows), MONTHS.index(match["b"].lower()) + 1)
        if match.groupdict().get("half"):
            hour = parts["H"]
            parts["H"] = np.where((hour >= 1) & (hour <= 12), hour % 12 + 12 * (match["half"][0] in "pP"), 99)
        if match.groupdict().get("sign"):
            parts["east"] = (60 * parts["zh"] + parts.get("zm", 0)) * (1 if match["sign"] == "+" else -1)
        if "Y" in places and np.diff(places["Y"]) == 2:
            parts["Y"] = parts["Y"] + np.where(parts["Y"] < 69, 2000, 1900)  # as POSIX has it
        if "f" in parts:
            parts["f"] = fraction(parts["f"], int(np.diff(places["f"])[0]))
        times, valid = moments(parts)
        if not valid.all():
            raise BadStampError(int(rows[np.argmin(valid)]))
        return times

    def order(self, parts: dict[str, np.ndarray], rows: np.ndarray) -> None:
        """Names the day and the month among the parts."""
        self.ordered = True
        over = {False: parts["p"] > 12, True: parts["q"] > 12}  # what is above 12 is the day
        tells = [month_first for month_first, above in over.items() if above.any()]
        if tells and not self.known:
            if self.month_first != tells[0] and len(tells) == 1:
                raise OtherOrderError
            self.known = True
        day, month = ("q", "p") if self.month_first else ("p", "q")
        parts["d"], parts["m"] = parts[day], parts[month]

    def told(self) -> str:
        """What was assumed of the stamps; "" if nothing had to be."""
        if not self.ordered:
            return ""
        order = "month" if self.month_first else "day"
        return f"times with the {order} first" + ("" if self.known else ", which no part above 12 tells")


@functools.lru_cache(maxsize=1024)
def match_shape(shape: bytes) -> re.Match[str] | None:
    """What the shape's parts are."""
    text = shape.decode("latin-1")
    return next((match for form in SHAPES if (match := form.fullmatch(text))), None)


def digits(chars: np.ndarray) -> np.ndarray:
    """The whole numbers [stamps] that the digits [stamps, digits], uint8, write."""
    return (chars - np.uint8(ord("0"))).astype(np.int64) @ 10 ** np.arange(chars.shape[1] - 1, -1, -1, dtype=np.int64)


def fraction(parts: np.ndarray, places: int) -> np.ndarray:
    """Microseconds, cut off, of decimals with so many places."""
    return parts * 10 ** (6 - places) if places <= 6 else parts // 10 ** (places - 6)


def moments(parts: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The times of those parts, and which of them a calendar and a clock have."""
    for name, factor, divisor in (("epoch", 10**6, 1), ("milli", 1000, 1), ("micro", 1, 1), ("nano", 1, 1000)):
        if name in parts:
            times = parts[name] * factor // divisor + parts.get("f", 0)
            return times.astype("M8[us]"), np.ones(len(times), bool)
    year, zero = parts["Y"], np.zeros_like(parts["Y"])
    month, day = parts.get("m", zero + 1), parts.get("d", zero + 1)
    hour, minute, second = (parts.get(name, zero) for name in "HMS")
    months = (12 * (year - 1970) + month - 1).astype("M8[M]")
    first = months.astype("M8[D]").astype(np.int64)
    days = (months + 1).astype("M8[D]").astype(np.int64) - first
    valid = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= days) & (minute <= 59) & (second <= 59)
    valid &= (hour <= 23) | ((hour == 24) & (minute + second == 0))
    east = parts.get("east", zero)
    minutes = (first + day - 1) * 1440 + 60 * hour + minute - east
    return ((60 * minutes + second) * 10**6 + parts.get("f", zero)).astype("M8[us]"), valid & (abs(east) < 1440)
