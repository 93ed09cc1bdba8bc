"""Exact Gauss-Newton spectra of all layers from as many backward passes as a network has outputs."""
