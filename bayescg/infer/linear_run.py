"""Methods that solve linear equations as runs: a system and data in, a :class:`Fit` out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
import time
from typing import Literal, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.infer.begin import program_of
from bayescg.infer.conjugate import ARD, Equations, Flat, Normal, Prior, Solution, solve
from bayescg.infer.correlation import statistical_inefficiency
from bayescg.infer.fit import Fit, Table
from bayescg.infer.force_design import BLOCKS, NormalEquations, normal_equations
from bayescg.infer.handlers import replace_prior
from bayescg.infer.options import check_without_prior
from bayescg.infer.program import Program, warn_of_single_precision
from bayescg.infer.progress import Progress, Silent
from bayescg.infer.undetermined import Told, kinks, told
from bayescg.options import option
from bayescg.potentials.molecular import MolecularPotential
from bayescg.system import Batch, System

__all__ = ["Linear", "LinearOptions", "in_blocks"]

ROOM = 2.5e8  # bytes that the sums over blocks may take
PER_INEFFICIENCY = 4.0  # statistical inefficiencies in a block: its errors are then 6 % too small
FEWEST = 8  # blocks; fewer tell no error
NAMED = 8  # coefficients that a message names


@dataclass(frozen=True)
class LinearOptions:
    """Options of methods that solve linear equations."""

    errors: Literal["sandwich", "bagged", "independent"] = option(
        "sandwich",
        "what `posterior` holds draws of: the spread of the equations over blocks of frames, posteriors of "
        "blocks with random weights, or the conjugate posterior, as if all residuals were independent",
    )
    draws: int = option(500, "posterior draws")
    block: int | None = option(
        None, "frames in a block that counts as independent; none: told by the autocorrelation"
    )

    def __post_init__(self) -> None:
        if self.draws < 2:
            raise ValueError(f"draws must be at least 2, got {self.draws}.")
        if self.block is not None and self.block < 1:
            raise ValueError(f"block must be at least 1, got {self.block}.")


class _Linearised(NamedTuple):
    """A system's program on data, whose potential is linear in its parameters."""

    program: Program
    potential: MolecularPotential
    natural: np.ndarray  # (term, u), natural parameters by u
    known: np.ndarray  # (term,), those at u = 0
    kt: float
    prior: Prior | None  # None: flat


def in_blocks(solution: Solution, block: int | None = None) -> tuple[Solution, bool]:
    """The same estimate, its equations merged into blocks of frames that count as independent.

    A block holds four statistical inefficiencies of the scores, where these are correlated from one of
    the given blocks to the next.

    :param block: frames in a block, where that is known.
    :return: and whether there are frames enough to tell.
    """
    e = solution.equations
    most, frames = len(e.frames), int(e.frames.sum())
    correlated = statistical_inefficiency(solution.scores)
    length = 1 if correlated.value <= 1.0 else int(np.ceil(PER_INEFFICIENCY * correlated.value))
    count = max(most // length, min(FEWEST, most))
    if block is not None:
        count = int(np.clip(round(frames / block), 2, most))
    enough = count >= FEWEST and (correlated.known or block is not None)
    enough = enough and (block is not None or length * count <= most)
    return replace(solution, equations=e.merged(count)), enough


@dataclass(frozen=True)
class Linear:
    """A method on a system and data; ``run(key)`` does it.

    :param structure: no forces are read, their products with the design come from structure (YBG).
    """

    system: System
    data: xr.Dataset
    options: LinearOptions
    method: str
    structure: bool = False

    def __post_init__(self) -> None:
        if not self.structure:
            _check_forces(self.data, self.method)
        else:
            check_without_prior(self.system, self.method)

    def run(self, key: Array, *, progress: Progress | None = None) -> Fit:
        """Sum the normal equations over the frames, solve them, and draw.

        :raises ValueError: if the potential is not linear in the parameters, or (without forces) has
            functions whose slope jumps where data are.
        """
        began = time.monotonic()
        warn_of_single_precision()
        progress = progress or Silent()
        batch = self.system.batch(self.data)
        x = batch.x[0]
        forces = None if self.structure else self._forces(x.shape)
        found = self._linearised(batch)
        terms = len(found.known)
        sums = normal_equations(
            found.potential,
            x,
            forces,
            blocks=max(2 * FEWEST, min(BLOCKS, int(ROOM / (8 * terms**2)))),
            curved=self.structure,
            tell=lambda done: progress.update(self.method, done, {}),
        )
        known = told(found.potential, found.natural, sums)
        if known.seldom.all():
            raise ValueError(
                "these frames meet none of the potential's functions; its range and its types are not theirs."
            )
        if self.structure:
            _check_kinks(found, sums, self.method)
        equations = self._equations(found, sums)
        solution = solve(equations, found.prior or Flat(known.extension))
        solution, enough = in_blocks(solution, self.options.block)
        return self._finish(key, batch, found, known, sums, solution, enough, began)

    def _forces(self, shape: tuple[int, ...]) -> np.ndarray:
        """Forces of the frames that are fitted, kcal/mol/angstrom."""
        chosen = self.system.select(self.data)["forces"]
        forces = np.asarray(chosen.values[: shape[0]])
        if forces.shape != shape:
            raise ValueError(
                f"forces of shape {forces.shape} do not go with positions {shape}; allowed is one a position."
            )
        return forces

    def _linearised(self, batch: Batch) -> _Linearised:
        system = self.system
        fixed = {"X": batch.x, **system.held(1, self.method)}
        program = program_of(system, batch, fixed)
        if self.structure:
            flat = replace(system, program=replace_prior(system.program, program.shapes))
            program = program_of(flat, batch, fixed)
        example = jnp.asarray(batch.x[0][:1], float)
        origin = jnp.zeros(program.size)
        boltzmann = program.boltzmann(origin, example, {})
        if not isinstance(boltzmann.potential, MolecularPotential):
            raise ValueError(
                f"{system.name} has no typed potentials, which {self.method} needs; use the model molecular."
            )

        def natural(u: Array) -> Array:
            return program.natural(u, example, {})

        there = jnp.linspace(-1.0, 2.0, program.size)
        both = jax.jit(lambda u: (natural(u), jax.jacfwd(natural)(u), natural(there)))
        known, slope, elsewhere = map(np.asarray, both(origin))
        if not np.allclose(elsewhere, known + slope @ there, rtol=1e-6, atol=1e-9):
            names = ", ".join(k for k in program.shapes if k != "theta_c")
            raise ValueError(
                f"{self.method} needs a potential linear in its parameters, and this one is not "
                f"({names or 'theta_c'}); allowed are splines, tables, harmonic terms and waves, -s prior=flat, "
                "normal or ard."
            )
        kt = 1.0 / float(jnp.asarray(boltzmann.beta))
        prior = _prior_of(program, example)
        return _Linearised(program, boltzmann.potential, slope, known, kt, prior)

    def _equations(self, found: _Linearised, sums: NormalEquations) -> Equations:
        """Equations of u."""
        numbers = sums.frames * float(sums.equations)
        if self.structure:
            unknown = np.full(len(sums.frames), np.nan)
            whole = Equations(sums.square, found.kt * sums.laplacian, unknown, numbers, sums.frames)
        else:
            whole = Equations(sums.square, sums.force, sums.power, numbers, sums.frames)
        return whole.reduced(-found.natural, -found.known)

    def _finish(
        self,
        key: Array,
        batch: Batch,
        found: _Linearised,
        known: Told,
        sums: NormalEquations,
        solution: Solution,
        enough: bool,
        began: float,
    ) -> Fit:
        o, method = self.options, self.method
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).astype(np.uint32))
        form = str(o.errors)
        forms = ("sandwich", "bagged") if self.structure else ("sandwich", "bagged", "independent")
        shown = tuple(dict.fromkeys((form, *(f for f in forms if f != "bagged"))))
        coverage = solution.coverage(shown, np.flatnonzero(~known.seldom), rng)
        draws = solution.draws(form, rng, o.draws)
        errors = {f: solution.error(f, rng) for f in forms}
        count = len(solution.equations.frames)
        each = int(sums.frames.sum()) / count
        messages = [*batch.notices, *_notes(found, known, solution)]
        if not enough:
            messages.append(
                f"{int(sums.frames.sum())} frames in {count} blocks are too few to tell how far they are "
                "correlated: errors may be larger."
            )
        if np.isfinite(coverage[form]):
            others = [f"{_SAID[f]}: {coverage[f]:.2f}" for f in shown if f != form]
            messages.append(
                f"held-out coverage of 90 % intervals: {coverage[form]:.2f} ({_SAID[form]}"
                + (f"; {', '.join(others)}" if others else "")
                + ")."
            )
        attrs: dict[str, object] = {
            **batch.attrs,
            "prior_used": _prior_in_words(found.prior),
            "errors": form,
            "blocks": count,
            "frames_per_block": each,
            "condition": solution.condition,
        }
        attrs |= {f"coverage_{f}": v for f, v in coverage.items() if np.isfinite(v)}
        if not self.structure:
            attrs |= _quality(solution)
        what = "force matching" if method == "fm" else "generalised Yvon-Born-Green equations"
        return Fit(
            method=method,
            system=self.system,
            batch=batch,
            program=found.program,
            draws=draws[None, :, None],
            mode=solution.mean[None],
            approximation=f"{what}, {_SAID[form]}" + _over(form, count, each),
            converged=np.array([solution.settled]),
            ended="solved" if solution.settled else "stopped before ARD's precisions had settled",
            messages=tuple(messages),
            seconds=time.monotonic() - began,
            exact=False,
            fixed=self.system.held(1, self.method),
            groups={method: _tables(errors, known, found, sums), "map": _mode(found, solution)},
            attrs=attrs,
            options=o,
            key=key,
        )


_SAID = {"sandwich": "sandwich", "bagged": "bagged", "independent": "independent residuals"}


def _over(form: str, blocks: int, each: float) -> str:
    return "" if form == "independent" else f", {blocks} blocks of {each:.3g} frames"


def _check_forces(data: xr.Dataset, method: str) -> None:
    if "forces" not in data.variables:
        # xarray keeps the path that data were read from.
        source = data.encoding.get("source", data.attrs.get("source"))
        named = "the data" if source is None else str(source)
        raise ValueError(
            f"{named} has no variable 'forces' (frame, site, axis), which {method} needs; `bayescg map` "
            "writes it where the trajectory has forces (GROMACS .trr, LAMMPS dump with fx fy fz); ybg needs none."
        )
    if not np.any(data["forces"].values):
        raise ValueError(
            f"the variable 'forces' is zero everywhere; {method} needs the forces of the trajectory."
        )


def _check_kinks(found: _Linearised, sums: NormalEquations, method: str) -> None:
    wrong = kinks(found.potential, found.natural, sums)
    if wrong:
        raise ValueError(
            f"the slope of a potential's functions jumps where data are ({wrong[0]}), so that they have no "
            f"second derivative, which {method} needs; allowed are splines over all of the data, harmonic "
            "terms and waves."
        )


def _prior_of(program: Program, example: Array) -> Prior | None:
    """The prior of u in closed form; None: flat."""
    names = set(program.shapes)
    if set(program.improper) == names:
        return None
    if set(program.ard) == names and len(names) == 1:
        return ARD(*map(float, next(iter(program.ard.values()))))

    def log_prior(u: Array) -> Array:
        return program.log_prior(u, example, {}) + program.log_jacobian(u)

    at = jnp.stack([jnp.zeros(program.size), jnp.linspace(-1.0, 2.0, program.size)])
    looked = jax.jit(jax.vmap(lambda u: (jax.hessian(log_prior)(u), jax.grad(log_prior)(u))))
    (bend, other), (slope, _) = (np.asarray(v) for v in looked(at))
    if program.improper or program.ard or not np.allclose(bend, other):
        raise ValueError("the prior must be flat, normal or ard for all coefficients alike.")
    return Normal(-bend, np.linalg.solve(-bend, slope))


def _prior_in_words(prior: Prior | None) -> str:
    if prior is None:
        return "flat"
    return "ard" if isinstance(prior, ARD) else "normal"


def _names(found: _Linearised) -> list[str]:
    """What each parameter is the coefficient of."""
    names = found.potential.names
    return [names[int(np.argmax(column != 0.0))] for column in found.natural.T]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _notes(found: _Linearised, known: Told, solution: Solution) -> list[str]:
    out = []
    if known.seldom.any():
        names = [n for n, s in zip(_names(found), known.seldom, strict=True) if s]
        if found.prior is None:
            rest = "they go on from their neighbours in a straight line (splines and tables) or are zero"
        else:
            rest = "they rest on the prior"
        out.append(
            f"{len(names)} of {len(known.seldom)} coefficients are met too seldom by these frames "
            f"({_listed(names)}): {rest}."
        )
    lost = solution.lost - known.constants
    if found.prior is None and lost > 0:
        out.append(
            f"the matrix is singular: {lost} combinations of coefficients change nothing in these frames and are "
            "left at zero; use fewer functions, more frames or -s prior=normal."
        )
    if not solution.settled:
        out.append("ARD's precisions had not settled; use -s prior=normal.")
    return out


def _quality(s: Solution) -> dict[str, object]:
    return {
        "residual_rms": float(np.sqrt(s.residual / s.equations.numbers.sum())),
        "r_squared": float(1.0 - s.residual / max(s.equations.power.sum(), 1e-300)),
    }


def _tables(
    errors: Mapping[str, np.ndarray], known: Told, found: _Linearised, sums: NormalEquations
) -> dict[str, Table]:
    """Standard errors in every form, and how often each coefficient is met."""
    dims = ("member", "parameter")
    out = {
        f"standard_error_{form}": Table(
            dims, v[None], f"standard error of the coefficient, {_SAID[form]}", "kcal/mol"
        )
        for form, v in errors.items()
    }
    met = np.max(np.where(found.natural != 0.0, sums.met[:, None], 0), 0)
    out["frames_met"] = Table(dims, met[None], "frames in which a site feels the function")
    seldom = known.seldom.astype(np.int8)
    out["seldom"] = Table(
        dims, seldom[None], "whether these frames tell too little of the coefficient"
    )
    return out


def _mode(found: _Linearised, solution: Solution) -> dict[str, Table]:
    return {
        "u": Table(("member", "parameter"), solution.mean[None], "estimate, unconstrained"),
        "converged": Table(
            ("member",), np.array([solution.settled], np.int8), "whether the equations were solved"
        ),
        "prior_used": Table(
            ("member",), np.array([_prior_in_words(found.prior)]), "prior of the coefficients"
        ),
    }
