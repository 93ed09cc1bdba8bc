"""How often each rule was right in lhexplore's own study, in a sentence; a rule that was not tried has none.

Written by `python benchmarks/diagnosis.py --write` from benchmarks/results/diagnosis.json.
"""

RECORDS: dict[str, str] = {
    "D1": "In lhexplore's study, on data sets set aside: right in 218 of 255 runs; "
    "129 of 132 warnings were true, and 129 of 163 cases were found.",
    "D2": "In lhexplore's study, on data sets set aside: right in 136 of 143 runs; "
    "45 of 52 warnings were true, and 45 of 45 cases were found.",
    "D3": "In lhexplore's study, on data sets set aside: right in 261 of 265 runs; "
    "23 of 24 warnings were true, and 23 of 26 cases were found.",
    "D4": "In lhexplore's study, on data sets set aside: right in 1202 of 1210 layers; "
    "68 of 74 warnings were true, and 68 of 70 cases were found.",
    "D7": "In lhexplore's study, on data sets set aside: right in 267 of 270 runs; "
    "42 of 45 warnings were true, and 42 of 42 cases were found.",
}
