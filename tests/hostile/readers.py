"""Every reader of the package by name, as a function of one path or one text; what it returns is checked too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bayescg import io, results
from bayescg.cli.inputs import load_result
from bayescg.infer import checkpoint
from bayescg.io.map_file import load_map, map_text, parse_map
from bayescg.io.targets import load_data, load_targets
from bayescg.io.trajectories import Trajectory
from bayescg.io.votca import read_molecule, read_settings, read_system, read_xml
from bayescg.io.votca.lammps import read_lammps
from bayescg.io.votca.tables import read_pair_table, read_potential, read_table, read_target
from bayescg.observables.lattice import correlation, magnetization
from bayescg.observables.liquid import adf, coordination, rdf, tetrahedral_order
from bayescg.options import numbers, parse_options
from bayescg.workflow import importing
from bayescg.workflow.choices import choose_observables
from bayescg.workflow.registry import METHODS, load_model
from tests.hostile.valid import IDENTITY

KNOWN = {
    "magnetization": magnetization,
    "correlation": correlation,
    "rdf": rdf,
    "adf": adf,
    "coordination": coordination,
    "tetrahedral_order": tetrahedral_order,
}
MODELS = ("ising", "spce_water", "molecular", "binary_lj", "ising_mixture", "lj_fluid")


def data(path: str) -> None:
    """A data file, which then passes its check."""
    io.check(io.load(path))


def any_data(path: str) -> None:
    """A data file or targets, as a fit reads them."""
    found = load_data(path)
    if "x" in found:
        io.check(found)
    for variable in found.variables.values():
        assert variable.values is not None


def targets(path: str) -> None:
    found = load_targets(path)
    for target in (*found.targets, *found.starts):
        assert np.isfinite(target.values).all() and target.width > 0
    assert found.temperature > 0


def observables_file(path: str) -> None:
    io.load_observables(path)


def result(path: str) -> None:
    """A result as `report` reads it."""
    found = results.load(path)
    results.attrs(found)
    for name in results.groups(found):
        results.group(found, name)


def whole_result(path: str) -> None:
    """A result as `predict`, `compare` and `export` read it."""
    load_result(Path(path))


def map_file(path: str) -> None:
    """A map, which as text is the same map again."""
    spec = load_map(path)
    parse_map(map_text(spec))


def votca_settings(path: str) -> None:
    read_settings(path)


def votca_project(path: str) -> None:
    """The targets of a project."""
    importing.import_targets(path)


def votca_map(path: str) -> None:
    read_molecule(path)


def votca_map_spec(path: str) -> None:
    map_text(importing.import_map([path]))


def xml(path: str) -> None:
    read_xml(path)


def table(path: str) -> None:
    read_table(path)
    read_target(path, "pair", types=("A", "B"))
    read_potential(path, "angle", "ABA")


def pair_table(path: str) -> None:
    read_pair_table(path, ("A", "B"))


def gro(path: str) -> None:
    read_system(path)


def top(path: str) -> None:
    read_system(Path(path).parent / "conf.gro", path)


def lammps(path: str) -> None:
    read_lammps(path)


def trajectory(path: str) -> None:
    """A trajectory beside a whole topology, every frame of it."""
    first = Path(path)
    made = "data.system" if (first.parent / "data.system").exists() else "top.gro"
    for frame in Trajectory(first.parent / made, [first]).frames():
        assert np.isfinite(frame.x).all()


def topology(path: str) -> None:
    """A topology beside a whole trajectory."""
    other = next(p for p in Path(path).parent.iterdir() if p.name.startswith("traj."))
    found = Trajectory(path, [other])
    assert len(found.masses) == found.atoms
    for frame in found.frames():
        assert np.isfinite(frame.x).all()


def resumed(path: str) -> None:
    """A checkpoint that a run goes on from."""
    with checkpoint.keeping(Path(path), IDENTITY, resume=True):
        checkpoint.place("chains").resumed()


def model_options(text: str) -> None:
    """``-s`` words, a line each, after the model's name."""
    model, *words = text.split("\n")
    parse_options(load_model(model).Options(), words, model)


def method_options(text: str) -> None:
    """``-M`` words, a line each, after the method's name."""
    method, *words = text.split("\n")
    parse_options(METHODS[method].options(None), words, method)


def observable(text: str) -> None:
    """One ``-O`` word."""
    choose_observables([text], KNOWN, "tests", 16, (10.0,) * 3)


def number_words(text: str) -> None:
    """``--mu`` and ``--temperature``."""
    assert np.isfinite(numbers(text, "mu")).all()


READERS: dict[str, Callable[[str], Any]] = {
    f.__name__: f
    for f in (
        data,
        any_data,
        targets,
        observables_file,
        result,
        whole_result,
        map_file,
        votca_settings,
        votca_project,
        votca_map,
        votca_map_spec,
        xml,
        table,
        pair_table,
        gro,
        top,
        lammps,
        trajectory,
        topology,
        resumed,
        model_options,
        method_options,
        observable,
        number_words,
    )
}
