"""The numbers of the papers, each with its table and row, and the study of sweeps/papers/ that trains the same task.

Read in copies of the papers: Hochreiter and Schmidhuber, 'Long Short-Term Memory', Neural Computation 9(8), 1997
(HS97); Gers, Schmidhuber and Cummins, 'Learning to Forget: Continual Prediction with LSTM', Neural Computation 12(10),
2000 (GSC00; its table 2 as it is quoted word for word elsewhere).
"""

from dataclasses import dataclass

TESTED = 2560  # new sequences, of which HS97 tells how many, or which fraction, were wrong


@dataclass(frozen=True)
class Published:
    """A row of a paper's table: after how many training sequences, on average, a criterion was met.

    `share` of the trials met it, of HS97 all, as far as the paper tells. `wrong` of `of` new sequences were wrong
    afterwards (tables 4 to 6 tell the share). None where the paper has no such number, or counts otherwise. `quick`
    rows are on a reduced page, too.
    """

    study: str
    task: str
    where: str
    criterion: str = "solved"
    sequences: float | None = None
    share: float = 1.0
    wrong: float | None = None
    of: int = TESTED
    quick: bool = False


ROWS = (
    Published("embedded-reber", "1 embedded Reber", "HS97, table 1, 3 blocks, rate 0.5", sequences=8_440, of=512),
    Published("long-lag-50", "2c q = 50, p = 50", "HS97, table 3, row 1", sequences=30_000, of=10_000),
    Published("long-lag-100", "2c q = 100, p = 100", "HS97, table 3, row 2", sequences=31_000, of=10_000),
    Published("long-lag-1000", "2c q = 1,000, p = 50", "HS97, table 3, row 9", sequences=203_000, of=10_000),
    Published("two-sequences-3a", "3a T = 100, N = 3", "HS97, table 4, row 1", "ST1", 27_380, quick=True),
    Published("two-sequences-3a", "3a T = 100, N = 3", "HS97, table 4, row 1", "ST2", 39_850, 1, 0.5, quick=True),
    Published("two-sequences-3a-1", "3a T = 100, N = 1", "HS97, table 4, row 2", "ST1", 58_370),
    Published("two-sequences-3a-1", "3a T = 100, N = 1", "HS97, table 4, row 2", "ST2", 64_330, 1, 0.3),
    Published("two-sequences-3a-1000", "3a T = 1,000, N = 3", "HS97, table 4, row 3", "ST1", 446_850),
    Published("two-sequences-3a-1000", "3a T = 1,000, N = 3", "HS97, table 4, row 3", "ST2", 452_460, 1, 0.2),
    Published("two-sequences-3b", "3b T = 100, N = 3", "HS97, table 5, row 1", "ST1", 41_740),
    Published("two-sequences-3b", "3b T = 100, N = 3", "HS97, table 5, row 1", "ST2", 43_250, 1, 21.2),
    Published("two-sequences-3b-1", "3b T = 100, N = 1", "HS97, table 5, row 2", "ST1", 74_950),
    Published("two-sequences-3b-1", "3b T = 100, N = 1", "HS97, table 5, row 2", "ST2", 78_430, 1, 38.4),
    Published("two-sequences-3b-1000", "3b T = 1,000, N = 1", "HS97, table 5, row 3", "ST1", 481_060),
    Published("two-sequences-3b-1000", "3b T = 1,000, N = 1", "HS97, table 5, row 3", "ST2", 485_080, 1, 30.9),
    Published("two-sequences-3c", "3c T = 100, N = 3", "HS97, table 6, row 1", "ST2", 269_650, 1, 14.3),
    Published("adding", "4 adding, T = 100", "HS97, table 7, row 1", "solved", 74_000, 1, 1),
    Published("adding-500", "4 adding, T = 500", "HS97, table 7, row 2", "solved", 209_000, 1, 0),
    Published("adding-1000", "4 adding, T = 1,000", "HS97, table 7, row 3", "solved", 853_000, 1, 1),
    Published("multiplication", "5 multiplication", "HS97, table 8, row 1", "fewer_than_140", 482_000),
    Published("multiplication", "5 multiplication", "HS97, table 8, row 2", "fewer_than_13", 1_273_000, 1, 14),
    Published("temporal-order", "6a temporal order", "HS97, table 9, row 1", "solved", 31_390, 1, 1, quick=True),
    Published("temporal-order-3", "6b temporal order", "HS97, table 9, row 2", "solved", 571_100, 1, 2),
    Published("continual-reber", "continual Reber", "GSC00, table 2, row 4", share=0.18, of=10),
    Published("continual-reber-decay", "the same, rate decaying", "GSC00, table 2, row 5", share=0.62, of=10),
)  # fmt: skip

# Rows of HS97 that are left out: those of table 3 have inputs as wide as there are distractors, that of table 6 is slow
CUT = (
    "2c q = 200, p = 200 (table 3, row 3)",
    "2c q = 500, p = 500 (row 4)",
    "2c q = 1,000 with p = 1,000, 500, 200 and 100 (rows 5 to 8)",
    "3c T = 100, N = 1 (table 6, row 2)",
)
