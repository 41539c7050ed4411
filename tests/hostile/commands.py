"""Command lines that work, and how their words and their files are broken."""

from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.hostile.trees import OPTION_VALUES


@dataclass(frozen=True)
class Line:
    """A command line that is accepted.

    :param words: of it, as typed in the folder of the valid files.
    :param options: flags whose values may be anything, each with values to try beside the usual odd ones.
    :param files: files that it reads, of those that are broken.
    :param weight: its share of the mutated inputs.
    :param fits: it reads results of fits; in the slow lane only.
    :param compiles: it takes seconds as it is; in the slow lane only.
    """

    words: str
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    weight: float = 1.0
    fits: bool = False
    compiles: bool = False

    @property
    def name(self) -> str:
        return " ".join(self.words.split()[:3])


MODEL = (
    "ratio=4",
    "ratio=3",
    "n_f=7",
    "prior=flat",
    "frames=3",
    "mu=0:1:2",
    "model.py",
    "temperature=1",
)
METHOD = (
    "draws=5",
    "max_iterations=0",
    "chains=0",
    "free_chains=-1",
    "tolerance=nan",
    "samples=1e9",
)
ISING = {
    "-s": MODEL,
    "-M": METHOD,
    "--seed": (),
    "-m": ("nuts", "fm", "ibi", "MCEM"),
    "--devices": ("0", "2"),
}
PREDICT = {
    "-O": ("rdf:width=0", "correlation:max=99", "rdf:width=1e-9", "rdf:max=1e9", "adf:neighbours=0", "rdf::", "rdf:="),
    "--draws": ("0", "7"),
    "--sites": ("1", "25"),
    "--temperature": ("0", "1,2", "0:1:2"),
    "--box": ("0", "1e-9", "1e9"),
    "--mu": ("0:1:3", "1e9"),
    "--reference": ("water.nc", "spins.nc", "model.py", "pair.nc", "missing.nc"),
    "--seed": (),
    "--devices": ("0", "-1", "9"),
}  # fmt: skip
TRAJECTORY = (
    "trajectories/xtc/traj.xtc --top trajectories/xtc/top.gro --map trajectories/xtc/map.yaml"
)
EXACT = "-s n_f=8 -s L_f=4 -s frames=2 -s mu=0.1"

LINES = (
    Line("models --quiet", {"--log": ("no/such/log", "spins.nc/log")}, weight=0.2),
    Line(f"reference ising {EXACT} -o new.nc", {"-s": MODEL, "--seed": ()}, weight=0.7, compiles=True),
    Line(f"reference model.py {EXACT} -o new.nc", {"-s": MODEL}, ("model.py",), 0.5, compiles=True),
    Line("observe spins.nc -o new.nc", {"-O": PREDICT["-O"]}, ("spins.nc",)),
    Line("observe water.nc -O rdf -o new.nc", {"-O": PREDICT["-O"]}, ("water.nc",)),
    Line(
        f"map {TRAJECTORY} -o new.nc",
        {"--temperature": (), "--begin": (), "--end": (), "--stride": (), "--forces": ("maybe",)},
        tuple(f"trajectories/xtc/{n}" for n in ("traj.xtc", "top.gro", "map.yaml")),
        2.0,
    ),
    Line(
        "import votca/settings.xml -o new.nc --map-out new.yaml",
        {
            "--conf": ("votca/topol.top", "spins.nc"),
            "--top": ("votca/conf.gro", "x.xml"),
            "--cg": ("votca/chain.xml",),
            "--atoms": ("votca/conf.gro",),
        },
        tuple(f"votca/{n}" for n in ("settings.xml", "chain_cg.xml", "topol.top", "conf.gro", "A-A.dist.tgt")),
        2.0,
    ),
    Line("fit ising -d spins.nc -s ratio=4 -o new.nc", ISING, ("spins.nc",), 2.0),
    Line("fit ising -d fields.nc -s ratio=4 -m nuts -o new.nc", ISING, ("fields.nc",)),
    Line("fit spce_water -d water.nc -s features=4 -s cutoff=4.9 -s high=4.9 -o new.nc", ISING, ("water.nc",), 2.0),
    Line("fit molecular -d molecules.nc -m dbi -o new.nc", ISING, ("molecules.nc",), 2.0),
    Line("fit molecular -d votca/targets.nc -m ibi -o new.nc", ISING, ("votca/targets.nc",), 2.0),
    Line("fit model.py -d spins.nc -s ratio=4 -o new.nc", ISING, ("model.py",)),
    Line("fit ising --help-method mcem", {"--help-method": ("nuts", "none")}, weight=0.3),
    Line("plan ising -d spins.nc -s ratio=4", {**ISING, "--draws": (), "--iterations": ()}, ("spins.nc",)),
    Line("predict water_fit.nc -O rdf -o new.nc", PREDICT, ("water_fit.nc",), 2.0),
    Line("predict spins_fit.nc -o new.nc", PREDICT, ("spins_fit.nc",), 3.0, fits=True),
    Line("report water_fit.nc -o new.html", {}, ("water_fit.nc",), 2.0, compiles=True),
    Line("report spins_fit.nc -o new.html", {}, ("spins_fit.nc",), 2.0, fits=True),
    Line("report molecules_fit.nc water_fit.nc -o new.html", {}, ("molecules_fit.nc",), 1.0, fits=True),
    Line("compare water_fit.nc", {"--reference": ("water.nc", "spins.nc")}, ("water_fit.nc",)),
    Line("compare spins_fit.nc", {"--reference": ("fields.nc",)}, ("spins_fit.nc",), 2.0, fits=True),
    Line(
        "export water_fit.nc --format table -o new",
        {"--draws": (), "--format": ("lammps", "gromacs", "xml")},
        ("water_fit.nc",),
        compiles=True,
    ),
    Line("export molecules_fit.nc --format lammps -o new", {"--draws": ()}, ("molecules_fit.nc",), 2.0, fits=True),
    Line("demo ising --quick -o spins.nc/no", {}, weight=0.2),
)  # fmt: skip

#: Models that users write in a hurry.
MODEL_FILES = (
    "",
    "x = 1\n",
    "def f(:\n",
    "raise RuntimeError('a\\nb')\n",
    "raise SystemExit(0)\n",
    "import sys; sys.exit('no')\n",
    "import nothing_of_that_name\n",
    "print('\\x00' * 10)\n1 / 0\n",
    "\x00\x01\x02",
    "raise KeyError\n",
    "raise BaseException('base')\n",
    "raise KeyboardInterrupt\n",
    "def f(): f()\nf()\n",
    "Options, SUMMARY, system = 1, 2, 3\n",
    "SUMMARY = 'x'\nclass Options: pass\ndef system(options): return None\n",
    "SUMMARY = 'x'\nfrom dataclasses import dataclass\n@dataclass(frozen=True)\nclass Options:\n    ratio: int = 4\n"
    "def system(options): return None\n",
    "from bayescg_models.ising import Options, SUMMARY, options_from_data\ndef system(options): raise KeyError('a')\n",
    "from bayescg_models.ising import Options, SUMMARY\ndef system(options): return options.nothing\n",
    "from bayescg_models.ising import *\nfrom bayescg_models.ising import Options, SUMMARY, system, reference\n",
    "é = '\ud800'\n",
)  # fmt: skip
NAMES = (
    "",
    " ",
    ".",
    "no/such.nc",
    "x" * 300,
    "a\x00b",
    "é.nc",
    "-",
    "--",
    "$(x)",
    "a\nb",
    "\udcff",
    "spins.nc",
)


@st.composite
def broken_words(draw: st.DrawFn, line: Line) -> list[str]:
    """A command line with one or two words more, less or other; outputs stay in the folder."""
    words = line.words.split()
    odd = st.one_of(st.sampled_from(OPTION_VALUES), st.text(max_size=10))
    for _ in range(draw(st.sampled_from((1, 1, 2)))):
        what = draw(
            st.sampled_from(
                ("option", "option", "option", "value", "drop", "twice", "name", "unknown")
            )
        )
        if what == "option" and line.options:
            flag = draw(st.sampled_from(sorted(line.options)))
            known = line.options[flag]
            value = draw(st.one_of(st.sampled_from(known), odd) if known else odd)
            if flag in ("-s", "-M") and draw(st.booleans()) and known:
                key = draw(st.sampled_from(known)).partition("=")[0]
                value = f"{key}={draw(odd)}"
            words += [flag, value]
        elif what == "value" and len(words) > 2:
            at = draw(st.integers(2, len(words) - 1))
            if words[at - 1] != "-o":
                words[at] = draw(odd)
        elif what == "drop" and len(words) > 1:
            del words[draw(st.integers(1, len(words) - 1))]
        elif what == "twice" and len(words) > 1:
            at = draw(st.integers(1, len(words) - 1))
            words.insert(at, words[at])
        elif what == "name" and len(words) > 1:
            words[draw(st.integers(1, len(words) - 1))] = draw(st.sampled_from(NAMES))
        else:
            words.append(
                draw(
                    st.one_of(st.sampled_from(("--nothing", "-z", "--draws", "-s", "--seed")), odd)
                )
            )
    # Nothing outside the folder is to be written.
    return [w for w in words if not w.startswith(("/", "~")) and ".." not in w]
