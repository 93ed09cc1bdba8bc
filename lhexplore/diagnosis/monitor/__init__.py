"""Watch the traces of layers while training: a CUSUM against healthy runs, and its calibration."""
