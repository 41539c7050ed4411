"""Files of VOTCA: settings, tables of distributions and potentials, maps, and the system."""

from bayescg.io.votca.molecules import VotcaMolecule, map_spec, molecule_of, read_molecule
from bayescg.io.votca.settings import Interaction, Settings, read_settings, settings_of
from bayescg.io.votca.systems import System, molecules_of, read_system
from bayescg.io.votca.tables import Table, read_pair_table, read_potential, read_table, read_target
from bayescg.io.votca.xml import Node, read_xml

__all__ = [
    "Interaction",
    "Node",
    "Settings",
    "System",
    "Table",
    "VotcaMolecule",
    "map_spec",
    "molecule_of",
    "molecules_of",
    "read_molecule",
    "read_pair_table",
    "read_potential",
    "read_settings",
    "read_system",
    "read_table",
    "read_target",
    "read_xml",
    "settings_of",
]
