"""Puts runs at single temperatures into one sweep: frames.nc, and long_run.nc with their radial distribution functions.

    python data/spce_temperatures/join.py FOLDER      with 280.nc, 320.nc, ... of `bayescg reference spce_water`

300 K is the shipped run of data/spce_water.
"""

from hashlib import sha256
from pathlib import Path
import sys

import numpy as np
import xarray as xr

from bayescg import io
from bayescg.files import write_netcdf

HERE = Path(__file__).parent
FRAMES = 25  # of each temperature


def main(folder: Path) -> None:
    runs = {float(path.stem): io.load(path) for path in folder.glob("[0-9]*.nc")}
    runs[300.0] = io.load(HERE.parent / "spce_water" / "frames.nc")
    kelvin = xr.DataArray(
        sorted(runs), dims="temperature", attrs={"units": "K", "long_name": "temperature"}
    )
    each = [runs[float(t)].drop_attrs(deep=False) for t in kelvin]
    rdf = xr.concat([one[["rdf", "rdf_se"]] for one in each], kelvin)
    lengths = [runs[float(t)].attrs["reference_frames"] for t in kelvin]
    intervals = [runs[float(t)].attrs["reference_interval_ps"] for t in kelvin]
    length = (
        "temperature",
        np.multiply(lengths, intervals),
        {"units": "ps", "long_name": "length of the run"},
    )
    x = xr.concat([one["x"].isel(frame=slice(FRAMES)) for one in each], kelvin).astype(np.float32)
    frames = each[0][["box", "mass"]].assign(x=x, length=length)
    source = (
        "bayescg reference spce_water: 100 molecules of SPC/E at constant volume, the same at all temperatures, with "
        "OpenMM; data/spce_temperatures/make.sh"
    )
    checksum = sha256(np.ascontiguousarray(x.values).tobytes()).hexdigest()
    io.save(frames.assign_attrs(source=source, sha256=checksum), HERE / "frames.nc")
    measured = rdf.assign(box=each[0]["box"], length=length).assign_attrs(source=source)
    write_netcdf(xr.DataTree(measured), HERE / "long_run.nc")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
