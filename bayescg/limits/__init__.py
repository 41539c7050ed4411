"""Deterministic methods as limiting cases of the same program.

Each only chooses parts of the rooms above it:

======  ====================  ======  ===========================  =================
method  map x <-> X           prior   log Z of p_c                 update of theta
======  ====================  ======  ===========================  =================
PCG     stochastic, latent X  any     gradient from model samples  MC-EM
REM     Dirac, X = R(x)       flat    gradient from model samples  the same MC-EM
======  ====================  ======  ===========================  =================
"""

from bayescg.limits.rem import rem

__all__ = ["rem"]
