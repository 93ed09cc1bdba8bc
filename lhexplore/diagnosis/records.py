"""How often each rule was right in lhexplore's own study, in a sentence; a rule that was not tried has none."""

RECORDS: dict[str, str] = {}
