"""Data in and potentials out."""

from bayescg.io.map_file import MapSpec, load_map
from bayescg.io.netcdf import check, each_temperature, load, load_observables, save
from bayescg.io.particles import check_cube, check_density, check_model_box, check_particles
from bayescg.io.stored import constants_of, data_of

__all__ = [
    "MapSpec",
    "check",
    "check_cube",
    "check_density",
    "check_model_box",
    "check_particles",
    "constants_of",
    "data_of",
    "each_temperature",
    "load",
    "load_map",
    "load_observables",
    "save",
]
