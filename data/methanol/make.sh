#!/usr/bin/env bash
# Makes frames.nc of this folder: methanol, all atoms, OPLS-AA, mapped to carbons; about 50 minutes.
# From the repository root, with bayescg and OpenMM installed.
set -eu
bayescg reference methanol -o data/methanol/frames.nc --seed 512
