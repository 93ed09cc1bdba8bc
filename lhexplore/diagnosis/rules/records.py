"""How often each rule was right in lhexplore's own study, in a sentence; a rule that was not tried has none.

Written by `python benchmarks/diagnosis.py --write` from benchmarks/results/diagnosis.json.
"""

RECORDS: dict[str, str] = {
    "D1": "right in 218 of 255 runs of lhexplore's study, on data sets set aside; "
    "129 of 132 warnings were true, and 129 of 163 cases were found.",
    "D2": "right in 136 of 143 runs of lhexplore's study, on data sets set aside; "
    "45 of 52 warnings were true, and 45 of 45 cases were found.",
    "D3": "right in 242 of 246 runs of lhexplore's study, on data sets set aside; "
    "18 of 19 warnings were true, and 18 of 21 cases were found.",
    "D4": "right in 1202 of 1210 layers of lhexplore's study, on data sets set aside; "
    "68 of 74 warnings were true, and 68 of 70 cases were found.",
    "D7": "right in 267 of 270 runs of lhexplore's study, on data sets set aside; "
    "42 of 45 warnings were true, and 42 of 42 cases were found.",
}
