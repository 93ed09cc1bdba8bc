"""The shape checker that pytest puts around the rooms of numbers: beartype, with an int allowed where a float is.

beartype looks at one item of a container at a time, chosen by ``random.getrandbits``. It gets a generator of its own
here: tests assert that the global one does not move.
"""

import random

_global = random.getrandbits
random.getrandbits = random.Random(0).getrandbits
import beartype._util.kind.integer.utilintget as _drawn  # noqa: E402
from beartype import BeartypeConf, beartype  # noqa: E402

random.getrandbits = _global
_drawn.getrandbits = random.Random(0).getrandbits  # where something had imported beartype already

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
