"""The shape checker that pytest puts around the rooms of numbers: beartype, with an int allowed where a float is."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
