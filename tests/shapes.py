"""The shape checker that pytest puts around the rooms of numbers: beartype, with an int allowed where a float is.

beartype looks at one item of a container at a time, chosen by ``random.getrandbits``. It gets a generator of its own
here: tests assert that the global one does not move.
"""

import random

import beartype._check.code.codemain as _compiling
import beartype._util.kind.integer.utilintget as _drawing
from beartype import BeartypeConf, beartype

_own = random.Random(0)
_compiling.getrandbits = _drawing.getrandbits = _own.getrandbits

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
