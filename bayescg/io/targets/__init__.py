"""Target distributions without a trajectory: what IBI, IMC, DBI and REM on bins are fitted to.

A file has up to three groups. The root holds the targets, each a histogram over bins of one width:

=====================  =========================  =====================================
variable               dims                       what, and its unit
=====================  =========================  =====================================
``rdf_A_B``            ``(r)``, angstrom          g(r) of two bead types, sorted; 1
``bond_NAME``          ``(length)``, angstrom     density of a bond's length; 1/angstrom
``angle_NAME``         ``(angle)``, degree        density of an angle; 1/degree
``dihedral_NAME``      ``(dihedral)``, degree     density of a dihedral; 1/degree
``..._se``             as its target, optional    standard error of the target
``box``                ``(axis)``                 edges, angstrom
``count``              ``(type)``                 sites of each bead type
=====================  =========================  =====================================

and the attribute ``temperature`` (K). The coordinate is the centre of the bin. Targets of one kind
with different bins have an axis each: ``r_of_A_B``, ``length_of_NAME``, ...; nothing is
interpolated. Densities integrate to one; the value of a bin is its probability over its width,
without Jacobian (the density of a free bond grows as r^2). The attribute ``norm`` of an RDF says
how many pairs an ideal gas would have: ``pairs`` (default), those that are not excluded; ``n2``, as
VOTCA has it, N_A N_B, or N_A^2/2 of one type. Excluded pairs are in neither histogram.

The group ``system`` is optional: one configuration with its topology, a data file of its own
(:mod:`bayescg.io.netcdf`), to start a simulation from; its bonded terms lie along ``bond_term``,
``angle_term`` and ``dihedral_term``, since groups inherit the axes of the root. So is
``potentials``: potentials in kcal/mol, ``pair_potential_A_B (r_potential)``,
``bond_potential_NAME (length_potential)``, ...; of interactions with a target to start from, of others
to keep as they are. The attribute ``potential_range`` of an RDF says between which distances its potential
is wanted; a cut-off that is not given ends there at the latest.
"""

from bayescg.io.targets.checks import check_targets
from bayescg.io.targets.file import (
    Targets,
    has_targets,
    load_data,
    load_targets,
    make_targets,
    save_targets,
    targets_of,
)
from bayescg.io.targets.record import Target

__all__ = [
    "Target",
    "Targets",
    "check_targets",
    "has_targets",
    "load_data",
    "load_targets",
    "make_targets",
    "save_targets",
    "targets_of",
]
