"""Data in and potentials out."""

from bayescg.io.netcdf import check, load, load_observables, save

__all__ = ["check", "load", "load_observables", "save"]
