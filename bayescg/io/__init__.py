"""Data in and potentials out."""

from bayescg.io.netcdf import check, load, load_observables, save
from bayescg.io.particles import check_density, check_particles

__all__ = ["check", "check_density", "check_particles", "load", "load_observables", "save"]
