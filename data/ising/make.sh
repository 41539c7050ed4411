#!/bin/sh
# Makes sweep.nc again, from the repository root.
exec bayescg reference ising --seed 0 -o data/ising/sweep.nc
