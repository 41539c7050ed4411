"""Makes the figures of the page of ARCG again, in the manner of the ARCG paper's Figs. 3 to 10.

    BAYESCG_REFERENCES=FOLDER BAYESCG_RESULTS=FOLDER python -m benchmarks arcg
    python docs/arcg_figures.py FOLDER

The first command makes references and fits; the second simulates each model where its fit began and where it ended.
"""

from collections.abc import Sequence
from pathlib import Path
import sys
from typing import Any, NamedTuple

import jax

jax.config.update("jax_enable_x64", True)

from figures import HERE, standalone  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402

from bayescg import io, results  # noqa: E402
from bayescg.infer.begin import origin, program_of  # noqa: E402
from bayescg.infer.chains import Simulator  # noqa: E402
from bayescg.observables import LiquidObservable, rdf, slab_profile  # noqa: E402
from bayescg.plot import COLOURS  # noqa: E402
from bayescg.report.drawing import INK, Figure, canvas, drawing_style, svg  # noqa: E402
from bayescg.workflow.registry import make_system  # noqa: E402
from bayescg_models import virtual_bond  # noqa: E402

#: The page, what its figures are made of, and the figures in its order.
SHOWN: dict[str, dict[tuple[str, ...], tuple[str, ...]]] = {
    "arcg": {
        ("lj_fluid",): ("arcg3",),
        ("virtual_bond",): ("arcg4", "arcg-ridge"),
        ("binary_lj",): ("arcg5", "arcg6", "arcg-binary"),
        ("methanol",): ("arcg7", "arcg8"),
        ("spce_water",): ("arcg9", "arcg10"),
    }
}
DATA = Path(__file__).parents[1] / "data"
SHIPPED = {
    "methanol": DATA / "methanol" / "frames.nc",
    "spce_water": DATA / "spce_water" / "frames_512.nc",
}
CHAINS, LEAD, SAMPLES, THIN = 8, 150, 60, 4
#: Lines of a figure: colour, style and width.
LINES = {
    "start": (COLOURS[4], "-", 1.4),
    "optimised": (COLOURS[0], "-", 2.2),
    "reference": (COLOURS[1], "--", 1.6),
}


class Model(NamedTuple):
    """A system, its program, and the parameters that a search began and ended with."""

    system: Any
    program: Any
    batch: Any
    start: np.ndarray
    found: np.ndarray


def model(name: str, folder: Path) -> tuple[Model, xr.Dataset]:
    """A fit by ARCG, and its reference."""
    reference = io.load(SHIPPED.get(name, folder / f"{name}.nc"))
    system = make_system(name, (), reference, "arcg")
    batch = system.batch(reference)
    fixed = {} if system.pre_map is not None else {"X": batch.x}
    fixed |= {k: np.full(1, v) for k, v in system.dirac.items()}
    program = program_of(system, batch, fixed)
    posterior = results.group(results.load(folder / f"{name}-arcg.nc"), "posterior")
    values = {k: jnp.asarray(posterior[k].values[0, 0]) for k in program.shapes}
    start = origin(system, program, batch.x)[0]
    found = np.asarray(program.unconstrain(values))
    return Model(system, program, batch, np.asarray(start), found), reference


def beginning(m: Model, label: str) -> Any:
    """Chains: of the start in random places of a lattice, of what was found in the data, whose phases it has."""
    if label == "start":
        return m.system.sampler.init(jax.random.key(0), CHAINS)
    frames = np.linspace(0, m.batch.x.shape[1] - 1, CHAINS).astype(int)
    x = jnp.asarray(m.batch.x[0][frames], float)
    complete = m.system.complete
    x = x if complete is None else complete(jax.random.key(4), x)
    return m.system.sampler.at(jax.random.key(0), x.T)


def simulated(m: Model, label: str, observables: Sequence[LiquidObservable]) -> list[np.ndarray]:
    """Averages of observables over the model where the search began, or ended."""
    system, example = m.system, jnp.asarray(m.batch.x[0][:1], float)
    g = system.pre_map

    def measure(x: jax.Array) -> jax.Array:
        seen = x if g is None else g(x)
        return jnp.concatenate([o(seen) for o in observables])

    simulator = Simulator(m.program, system.sampler, measure, example, {})
    u = m.start if label == "start" else m.found
    _, taken, _ = simulator.sampled(
        jax.random.key(1), beginning(m, label), u, lead=LEAD, samples=SAMPLES, thin=THIN
    )
    mean = taken.mean((0, 2))
    ends = np.cumsum([next(iter(o.coords().values())).size for o in observables])
    return np.split(mean, ends[:-1])


def lines(
    ident: str, title: str, axes: tuple[str, str], drawn: dict[str, tuple[np.ndarray, np.ndarray]]
) -> Figure:
    """One panel with a line of each kind."""
    with drawing_style():
        figure = canvas(5.6, 3.6)
        ax = figure.subplots()
        for label, (x, y) in drawn.items():
            colour, style, width = LINES[label]
            ax.plot(x, y, color=colour, linestyle=style, linewidth=width, label=label)
        ax.axhline(0.0, color=INK, linewidth=0.5)
        ax.set_xlabel(axes[0])
        ax.set_ylabel(axes[1])
        ax.legend()
        return Figure(ident, title, title, svg(figure, ident, title))


def write(figure: Figure) -> None:
    path = HERE / f"{figure.ident}.svg"
    path.write_text(standalone(figure), encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", flush=True)


def fluid(name: str, ident: str, folder: Path) -> tuple[Model, xr.Dataset]:
    """RDFs of a fluid, where its search began and ended."""
    m, reference = model(name, folder)
    r = reference["r"].values
    width = float(r[1] - r[0])
    box = np.asarray(reference["box"].values, float)
    measured = [rdf(width, float(r[-1] + 0.5 * width + 1e-9)).in_box(box)]
    if "slab_density" in reference:
        measured.append(slab_profile(reference.sizes["depth"]).in_box(box))
    before, after = (simulated(m, label, measured) for label in ("start", "optimised"))
    drawn = {"start": (r, before[0]), "optimised": (r, after[0])}
    drawn["reference"] = (r, reference["rdf"].values)
    title = f"Radial distribution functions of {name}"
    write(lines(ident, title, ("distance r / Å", "g(r)"), drawn))
    if "slab_density" in reference:
        depth = reference["depth"].values
        drawn = {"start": (depth, before[1]), "optimised": (depth, after[1])}
        drawn["reference"] = (depth, reference["slab_density"].values)
        title = "Density of X across the slab"
        labels = ("distance from the middle of the slab / Å", "density / Å⁻³")
        write(lines("arcg6", title, labels, drawn))
    return m, reference


def potentials(m: Model, ident: str, name: str) -> None:
    """Pair potentials where a search began and ended."""
    drawn = {}
    assert m.system.derived is not None
    for label, u in (("start", m.start), ("optimised", m.found)):
        values = m.program.constrain(jnp.asarray(u))
        derived = m.system.derived(values)["pair_potential"]
        r, energy = derived.coords, np.asarray(derived.value)
        seen = energy < 3.0
        drawn[label] = (r[seen], energy[seen])
    title = f"Pair potential of {name}"
    write(lines(ident, title, ("distance r / Å", "u(r) / kcal mol⁻¹"), drawn))


def bond(folder: Path) -> None:
    """Densities of the distance X-X, by quadrature."""
    m, _ = model("virtual_bond", folder)
    triangle = virtual_bond._triangle(virtual_bond.Options())
    r = triangle.exact.points
    truth = {n: jnp.asarray(getattr(virtual_bond.Options(), n)) for n in virtual_bond.NAMES}
    drawn = {}
    for label, values in (
        ("start", m.program.constrain(jnp.asarray(m.start))),
        ("optimised", m.program.constrain(jnp.asarray(m.found))),
        ("reference", truth),
    ):
        chosen = {n: values[n] for n in virtual_bond.NAMES}
        density = triangle.exact.density(triangle.potential(**chosen), triangle.beta)
        drawn[label] = (r[r < 8.0], np.asarray(density)[r < 8.0])
    labels = ("distance X-X / Å", "density / Å⁻¹")
    write(lines("arcg4", "Density of the distance between the two X", labels, drawn))
    found = {k: float(v) for k, v in m.program.constrain(jnp.asarray(m.found)).items()}
    ridge(folder, found, {k: float(v) for k, v in truth.items()})


def ridge(folder: Path, found: dict[str, float], truth: dict[str, float]) -> None:
    """Draws of the posterior by NUTS, where ARCG ended, and what the data were made with."""
    draws = results.group(results.load(folder / "virtual_bond-nuts.nc"), "posterior")
    title = "Posterior of the four parameters of the virtual bond"
    pairs = (("x_XY", "x_XX", "Å"), ("k_XY", "k_XX", "kcal mol⁻¹ Å⁻²"))
    with drawing_style():
        figure = canvas(7.2, 3.4)
        for ax, (a, b, units) in zip(figure.subplots(1, 2), pairs, strict=True):
            x, y = (draws[n].values.ravel()[::16] for n in (a, b))
            ax.scatter(x, y, s=3, color=COLOURS[4], linewidths=0, alpha=0.5, label="NUTS")
            for label, at, mark in (("ARCG", found, "o"), ("truth", truth, "X")):
                colour = COLOURS[0] if label == "ARCG" else COLOURS[1]
                ax.scatter(
                    at[a], at[b], s=60, color=colour, marker=mark, edgecolors=INK, label=label
                )
            ax.set_xlabel(f"{a.replace('_', ' of ')} / {units}")
            ax.set_ylabel(f"{b.replace('_', ' of ')} / {units}")
            together = np.corrcoef(np.log(draws[a].values.ravel()), np.log(draws[b].values.ravel()))
            print(f"correlation of log {a} and log {b}: {together[0, 1]:.3f}")
        figure.axes[0].legend()
        write(Figure("arcg-ridge", title, title, svg(figure, "arcg-ridge", title)))


def main(page: str, folder: Path) -> None:
    """Make all figures of a page from the fits in a folder."""
    fits = [folder / f"{name}-arcg.nc" for names in SHOWN[page] for name in names]
    fits.append(folder / "virtual_bond-nuts.nc")
    if lost := [str(path) for path in fits if not path.is_file()]:
        sys.exit(f"no {', '.join(lost)}; docs/{page}.md says which commands make it.")
    fluid("lj_fluid", "arcg3", folder)
    bond(folder)
    mixture, reference = fluid("binary_lj", "arcg-binary", folder)
    configurations(mixture, reference)
    for name, first, second in (("methanol", "arcg7", "arcg8"), ("spce_water", "arcg10", "arcg9")):
        m, _ = fluid(name, first, folder)
        potentials(m, second, name)


def configurations(m: Model, reference: xr.Dataset) -> None:
    """A frame of the reference and one of the model where its search began and ended, seen along an edge."""
    frames = {}
    for label, u in (("start", m.start), ("optimised", m.found)):
        example = jnp.asarray(m.batch.x[0][:1], float)
        simulator = Simulator(m.program, m.system.sampler, lambda x: x[0, :1], example, {})
        state, _, _ = simulator.sampled(
            jax.random.key(3), beginning(m, label), u, lead=LEAD, samples=1, thin=THIN
        )
        frames[label] = np.asarray(m.system.pre_map(state.x))[:, :, 0]
    frames["reference"] = reference["x"].values[-1].T
    box = np.asarray(reference["box"].values, float)
    title = "Configurations of the X, seen along an edge of the box"
    with drawing_style():
        figure = canvas(7.2, 2.8)
        for ax, (label, x) in zip(figure.subplots(1, 3), frames.items(), strict=True):
            wave = np.abs(np.exp(2j * np.pi * x / box[:, None]).mean(1))
            across = int(np.argmax(wave))
            other = (across + 1) % 3
            wrapped = np.mod(x, box[:, None])
            ax.scatter(wrapped[other], wrapped[across], s=4, color=LINES[label][0], linewidths=0)
            ax.set(title=label, xticks=[], yticks=[], aspect="equal")
        write(Figure("arcg5", title, title, svg(figure, "arcg5", title)))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main("arcg", Path(sys.argv[1]))
