"""Numbers that spectra and states of layers give, each with unit, meaning, source and error; open to one's own."""
