#!/bin/sh
# Makes frames.nc and long_run.nc again, from the repository root; needs OpenMM and about a quarter of an hour on a free core.
set -e
runs=$(mktemp -d)
for kelvin in 280 320 340 360; do
    bayescg reference spce_water -s temperature=$kelvin -s length=200 -s equilibration=20 -s spacing=8 \
        --seed $kelvin -o "$runs/$kelvin.nc"
done
python data/spce_temperatures/join.py "$runs"
