"""Data in and potentials out."""

from bayescg.io.netcdf import check, load, save

__all__ = ["check", "load", "save"]
