"""Exact Gauss-Newton spectra of all layers from as many backward passes as a network has outputs."""

from .spectra import FactorResult, FactorStep, factor_rows, factor_spectra

__all__ = ["FactorResult", "FactorStep", "factor_rows", "factor_spectra"]
