"""See the layer-wise Hessian spectra of a network while you scrub through its training."""
