#!/bin/sh
# Makes frames.nc and long_run.nc again, from the repository root; needs OpenMM and most of an hour.
set -e
bayescg reference spce_water --seed 0 -o data/spce_water/frames.nc
python - <<'END'
import xarray as xr

from bayescg import io
from bayescg.files import write_netcdf

data = io.load("data/spce_water/frames.nc").drop_vars(["x", "mass"])
write_netcdf(xr.DataTree(data), "data/spce_water/long_run.nc")
END
