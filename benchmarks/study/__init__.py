"""The study of the rules: trainings with a known state, their spectra, and what the rules say of them."""
