"""A small project in VOTCA's formats: chains A-B-A, their targets, and the same with atoms."""

from pathlib import Path
import re

import numpy as np

KBT = 2.4943387854  # kJ/mol, 300 K
EDGE = 2.0  # nm
CHAINS = 6

SETTINGS = """\
<cg>
  <!-- two bonded and three non-bonded interactions -->
  <bonded>
    <name>bond</name>
    <min>0.2</min> <max>0.3</max> <step>0.01</step>
    <inverse> <target>bond.dist.tgt</target> </inverse>
  </bonded>
  <bonded>
    <name>angle</name>
    <min>0</min> <max>3.1415</max> <step>0.1</step>
    <inverse> <target>angle.dist.tgt</target> </inverse>
  </bonded>
  <non-bonded>
    <name>A-A</name> <type1>A</type1> <type2>A</type2>
    <min>0</min> <max>0.9</max> <step>0.01</step>
    <inverse>
      <target>A-A.dist.tgt</target>
      <do_potential>1 0</do_potential>
      <post_update>smooth</post_update>
    </inverse>
  </non-bonded>
  <non-bonded>
    <name>B-A</name> <type1>B</type1> <type2>A</type2>
    <min>0</min> <max>0.8</max> <step>0.01</step>
    <inverse> <target>B-A.dist.tgt</target> </inverse>
  </non-bonded>
  <non-bonded>
    <name>B-B</name> <type1>B</type1> <type2>B</type2>
    <min>0</min> <max>0.8</max> <step>0.01</step>
  </non-bonded>
  <inverse>
    <kBT>2.4943387854</kBT>
    <program>gromacs</program>
    <map>chain_cg.xml</map>
    <method>imc</method>
  </inverse>
</cg>
"""

MAP_CG = """\
<cg_molecule>
  <name>CHAIN</name> <ident>chain</ident>
  <topology>
    <cg_beads>
      <cg_bead><name>A1</name><type>A</type><mapping>ONE</mapping><beads>1:chn:A1</beads></cg_bead>
      <cg_bead><name>B</name><type>B</type><mapping>ONE</mapping><beads>1:chn:B</beads></cg_bead>
      <cg_bead><name>A2</name><type>A</type><mapping>ONE</mapping><beads>1:chn:A2</beads></cg_bead>
    </cg_beads>
    <cg_bonded>
      <bond><name>bond</name><beads> A1 B
         A2 B </beads></bond>
      <angle><name>angle</name><beads>A1 B A2</beads></angle>
    </cg_bonded>
  </topology>
  <maps><map><name>ONE</name><weights>1</weights></map></maps>
</cg_molecule>
"""

#: Two residues, CH2 of which has atoms of the same names as CH3.
MAP_ATOMS = """\
<cg_molecule>
  <name>CHAIN</name> <ident>Chain</ident>
  <topology>
    <cg_beads>
      <cg_bead><name>A1</name><type>A</type><mapping>T</mapping><beads>1:CH3:C 1:CH3:H</beads></cg_bead>
      <cg_bead><name>B</name><type>B</type><mapping>T</mapping><beads>2:CH2:C 2:CH2:H</beads></cg_bead>
      <cg_bead><name>A2</name><type>A</type><mapping>U</mapping><beads>3:CH3:H 3:CH3:C</beads></cg_bead>
    </cg_beads>
    <cg_bonded>
      <bond><name>bond</name><beads>A1 B A2 B</beads></bond>
      <angle><name>angle</name><beads>A1 B A2</beads></angle>
    </cg_bonded>
  </topology>
  <maps>
    <map><name>T</name><weights>12 1</weights></map>
    <map><name>U</name><weights>1 12</weights></map>
  </maps>
</cg_molecule>
"""

TOP = """\
#define CHAINS
[ defaults ]
1 1 no 1.0 1.0
[ atomtypes ]
; name  at.num  mass  charge  ptype  c6  c12
A  6  29.0  0.0  A  0.0  1.0
B  28.0  0.0  A  0.0  1.0
#ifdef CHAINS
#include "chain.itp"
#else
[ moleculetype ]
wrong 1
#endif
[ system ]
chains
[ molecules ]
chain  6
"""

ITP = """\
[ moleculetype ]
chain  3
[ atoms ]
1  A  1  chn  A1  1  0.0
2  B  1  chn  B   2  0.0 \\
   28.5 ; the mass of this one
3  A  1  chn  A2  3  0.0
[ bonds ]
1 2 8 1 1.0
2 3 8 1 1.0
[ angles ]
1 2 3 8 1 1.0
"""


def positions() -> np.ndarray:
    """Bent chains side by side, ``(bead, axis)``, nm, to the third decimal."""
    rng = np.random.default_rng(0)
    middle = np.stack(np.meshgrid([0.4, 1.4], [0.3, 0.9, 1.6], [1.0]), -1).reshape(-1, 3)
    ends = np.array([[-0.2, 0.0, 0.15], [0.0, 0.0, 0.0], [0.2, 0.0, 0.15]])
    x = (middle[:, None] + ends).reshape(-1, 3) + 0.01 * rng.random((3 * CHAINS, 3))
    return np.round(x, 3)


def gro(x: np.ndarray, names: tuple[str, ...] = ("A1", "B", "A2"), decimals: int = 3) -> str:
    width = decimals + 5
    lines = ["chains", f"{len(x)}"]
    for n, row in enumerate(x):
        name = names[n % len(names)]
        numbers = "".join(f"{v:{width}.{decimals}f}" for v in row)
        lines.append(f"{n // len(names) + 1:5d}{'CHN':<5s}{name:>5s}{n + 1:5d}{numbers}")
    return "\n".join([*lines, f"{EDGE:10.5f}{EDGE:10.5f}{EDGE:10.5f}"]) + "\n"


def table(x: np.ndarray, y: np.ndarray, flags: str = "") -> str:
    flags = flags or "i" * len(x)
    return "".join(f"{a:.6g} {b:.8g} {f}\n" for a, b, f in zip(x, y, flags, strict=True))


def g(r: np.ndarray) -> np.ndarray:
    return 1.0 - np.exp(-((r / 0.4) ** 8))


def pair_table(r: np.ndarray, u: np.ndarray) -> str:
    """A non-bonded table of GROMACS, the potential in its sixth column."""
    return "".join(f"{a:.6g} 0 0 0 0 {b:.8g} 0\n" for a, b in zip(r, u, strict=True))


def fixed_bonds(folder: Path) -> None:
    """The same project without bonded targets: tables of GROMACS beside the topology."""
    settings = re.sub(r"(?s)<bonded>.*</bonded>", "", SETTINGS)
    (folder / "settings.xml").write_text(settings.replace("<map>chain_cg.xml</map>", ""))
    b, a = 0.002 * np.arange(251), 1.0 * np.arange(181)
    bond = 0.5 * 4000.0 * (b - 0.25) ** 2  # kJ/mol
    angle = 0.5 * 20.0 * np.radians(a - 110.0) ** 2
    for name, x, y in (("b1", b, bond), ("a1", a, angle)):
        text = "".join(f"{v:.6g} {u:.8g} 0\n" for v, u in zip(x, y, strict=True))
        (folder / f"table_{name}.xvg").write_text(text)


def write(folder: Path) -> Path:
    """The whole project; the path of its settings. The potential of B and B is a table without a target."""
    files = {
        "settings.xml": SETTINGS,
        "chain_cg.xml": MAP_CG,
        "chain.xml": MAP_ATOMS,
        "topol.top": TOP,
        "chain.itp": ITP,
        "conf.gro": gro(positions()),
    }
    r = 0.01 * np.arange(91)
    files["A-A.dist.tgt"] = "# made here\n" + table(r, g(r))
    files["B-A.dist.tgt"] = "@ title\n" + table(r[:81], g(r[:81]), "u" * 3 + "i" * 78)
    b = 0.2 + 0.01 * np.arange(11)
    files["bond.dist.tgt"] = table(b, 3.0 * np.exp(-((b - 0.25) ** 2) / 0.0008))
    a = np.linspace(0.0, 3.1415, 32)
    files["angle.dist.tgt"] = table(a, np.sin(a) / 2.0)
    files["table_B_B.xvg"] = pair_table(r, 4.184 * (0.4 / np.maximum(r, 0.2)) ** 12)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder / "settings.xml"
