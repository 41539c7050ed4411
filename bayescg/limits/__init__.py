"""Deterministic methods as limiting cases of the same program.

Each only chooses parts of the rooms above it:

==========  ====================  ======  ==============================  ===========================
method      map x <-> X           prior   log Z of p_c                    update of theta
==========  ====================  ======  ==============================  ===========================
PCG         stochastic, latent X  any     gradient from model samples     MC-EM
REM         Dirac, X = R(x)       flat    gradient from model samples     the same, gradient/Newton
IMC         Dirac                 flat    same                            REM's Newton step on bins
IBI         Dirac                 flat    same                            IMC, ideal-gas response
DBI         Dirac                 flat    zero-density limit              one shot
MS-CG       Dirac                 any     not needed (score matching)     least squares on forces
GYBG        Dirac                 flat    not needed (score matching)     the same, from structure
ARCG        Dirac, or pre-CG G    flat    replaced by a critic            covariance with its witness
classifier  Dirac                 flat    replaced by a critic            its verdict, added
==========  ====================  ======  ==============================  ===========================
"""

from bayescg.infer.hypernetted import hnc_potential
from bayescg.limits.arcg import arcg
from bayescg.limits.classifier import classifier
from bayescg.limits.dbi import dbi
from bayescg.limits.force_matching import force_matching
from bayescg.limits.ibi import ibi
from bayescg.limits.imc import imc
from bayescg.limits.rem import rem
from bayescg.limits.ybg import ybg

__all__ = [
    "arcg",
    "classifier",
    "dbi",
    "force_matching",
    "hnc_potential",
    "ibi",
    "imc",
    "rem",
    "ybg",
]
