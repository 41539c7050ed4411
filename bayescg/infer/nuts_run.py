"""NUTS as a run: a system and data in, a :class:`Fit` out."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.infer.begin import all_seen, drawn, origin, program_of, restricted
from bayescg.infer.examination import of_chains
from bayescg.infer.fit import Fit, Table
from bayescg.infer.health import Posterior
from bayescg.infer.identified import check_told
from bayescg.infer.marginal import check_exact
from bayescg.infer.nuts import NUTSResult, check_proper, run_nuts
from bayescg.infer.nuts_learned import run_learned
from bayescg.infer.options import NUTSOptions, options_for
from bayescg.infer.pooled import run_pooled
from bayescg.infer.precision import most_varying
from bayescg.infer.program import Program
from bayescg.infer.progress import Progress
from bayescg.infer.run import mcem
from bayescg.infer.states import Labelled, labelled, state_tables
from bayescg.infer.words import members_in_words
from bayescg.samplers.tethers import Tether
from bayescg.system import Batch, System

__all__ = ["NUTS", "NUTSOptions", "nuts"]


WRONG = 0.25  # standard error of a posterior mean by log Z, in posterior sd, the most that may be
ENOUGH = 4  # draws of an approximation, a parameter, that chains may start from
STARTS = 8  # of each chain where hidden states make many modes
OUTSIDE = 0.01  # fraction of draws that may have too few samples behind log Z


@dataclass(frozen=True)
class NUTS:
    """NUTS on a system and data; ``run(key)`` does it."""

    system: System
    data: xr.Dataset
    options: NUTSOptions = NUTSOptions()  # noqa: RUF009 - frozen

    def run(self, key: Array, *, progress: Progress | None = None) -> Fit:
        """Sample the full posterior.

        :raises ValueError: for options or a system that NUTS cannot do with; says which.
        """
        batch = self.system.batch(self.data)
        o = self.options
        exact = o.log_partition == "exact"
        program = program_of(self.system, batch, pooled=True, states=True)
        if not exact and program.shared:
            raise ValueError(
                "log_partition=learned is for members on their own; allowed for a program whose parameters members "
                "share is exact, where it is known."
            )
        if program.shared and program.sites.state is not None:
            raise ValueError(
                "members that share parameters cannot have hidden states too; allowed is either, another -s prior."
            )
        if not exact and program.sites.state is not None:
            raise ValueError(
                f"log_partition=learned samples latents and sums no hidden states out; {self.system.name} needs exact."
            )
        fixed = {} if exact else self._seen(batch, jax.random.fold_in(key, 1))
        if fixed:
            program = program_of(self.system, batch, fixed)
        if exact:
            given = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
            check_exact(program, jnp.asarray(batch.x[0], float), given)
            check_told(self.system, program, batch)
            starts = 1 if program.sites.state is None else STARTS
            sample = run_pooled if program.shared else partial(run_nuts, starts=starts)
            result = sample(
                program,
                batch.x,
                batch.conditions,
                key,
                chains=o.chains,
                warmup=o.warmup,
                samples=o.samples,
                target_accept=o.target_accept,
                max_tree_depth=o.max_tree_depth,
                dense_mass=o.mass == "dense",
                progress=progress,
            )
        else:
            about = None
            if self.system.sampler.at is not None and not program.sites.latent_observed:
                about = self._approximation(program, jax.random.fold_in(key, 2), progress)
            first = origin(self.system, program, batch.x, o.start)
            result = run_learned(
                self.system, program, batch, first, key, o, progress, fixed=fixed, about=about
            )
        draws, notes, groups = result.u, [], {}
        if program.sites.state is not None:
            members = _labelled(program, batch, result, key)
            draws = np.stack([m.u for m in members], 2)
            groups["states"] = state_tables(members, program.states)
            notes = [note for m in members for note in m.notes]
        posterior = Posterior(self.system, program, batch, draws)
        health = of_chains(
            posterior,
            "NUTS is not to be trusted",
            "raise -M samples, warmup or chains",
            diverging=result.stats["diverging"],
            target_accept=o.target_accept,
        )
        good = ~health.bad
        messages = list(dict.fromkeys([*batch.notices, *notes, *health.messages]))
        log_z = result.log_z
        if log_z and (log_z["outside"] > OUTSIDE).any():
            at = np.flatnonzero(log_z["outside"] > OUTSIDE)
            good[at] = False
            messages.append(
                f"log Z is not known well enough for {members_in_words(batch, at)}: "
                f"{log_z['outside'][at].max():.0%} of the draws have too few samples behind them; raise -M precision, "
                "start nearer (-M start), use more frames, or a tighter prior."
            )
        most = most_varying(program.size)
        if log_z and not (log_z["varies"] <= most).all():
            at = np.flatnonzero(~(log_z["varies"] <= most))
            good[at] = False
            messages.append(
                f"log Z does not hold for {members_in_words(batch, at)}: its errors at fresh simulations vary by "
                f"{log_z['varies'][at].max():.2g} from draw to draw, where {most:.2g} is much; lower -M precision, "
                "start nearer (-M start), or use a tighter prior."
            )
        if log_z and (log_z["shift"] > WRONG).any():
            at = np.flatnonzero(log_z["shift"] > WRONG)
            good[at] = False
            messages.append(
                f"log Z is uncertain for {members_in_words(batch, at)}: its Monte Carlo error moves posterior means by "
                f"up to {log_z['shift'][at].max():.2f} sd; lower -M precision, or use fewer frames."
            )
        stats = {
            k: Table(("chain", "draw", "member")[: v.ndim], v, text)
            for k, text in (
                ("diverging", "divergent transition"),
                ("num_steps", "leapfrog steps"),
                ("accept_prob", "acceptance probability"),
                ("energy", "Hamiltonian"),
            )
            for v in [result.stats[k]]
        }
        lp = -result.stats["potential_energy"]
        stats["lp"] = Table(("chain", "draw", "member")[: lp.ndim], lp, "log posterior density")
        return Fit(
            method="nuts",
            system=self.system,
            batch=batch,
            program=program,
            draws=draws,
            mode=None,
            approximation=(
                f"NUTS, log Z learned by reweighting, {_latents(program.sites.latent_observed)}"
                if log_z
                else "NUTS, latents and hidden states summed out exactly; labels by Stephens's relabelling"
                if program.sites.state is not None
                else f"NUTS{', all members together' if program.shared else ''}, latents summed out exactly"
            ),
            converged=good,
            ended="converged" if good.all() else "not mixed",
            messages=tuple(messages),
            seconds=result.seconds,
            exact=exact,
            fixed=fixed,
            groups={"sample_stats": stats, "health": health.tables, **groups},
            options=o,
            key=key,
            attrs={
                "prior_used": str(self.system.options.get("prior", "as in the program")),
                **health.attrs,
                **{f"log_partition_{k}": float(v.max()) for k, v in log_z.items()},
            },
        )

    def _approximation(self, program: Program, key: Array, progress: Progress | None) -> np.ndarray:
        """Draws of Laplace's approximation at the mode that MC-EM finds, ``(draw, member, u)``, or of -M start.

        :raises ProgramError: for a prior that NUTS refuses; before MC-EM and not after it.
        """
        check_proper(program)
        path = self.options.start
        found = None if path is None else drawn(path, program)
        if found is not None and len(found) >= ENOUGH * program.size:
            return found[:, None]
        options = {"draws": ENOUGH * program.size} | ({} if path is None else {"start": path})
        return mcem(self.system, self.data, **options).run(key, progress=progress).draws[0]

    def _seen(self, batch: Batch, key: Array) -> dict[str, np.ndarray]:
        """What the program is conditioned on: latents that the data hold, or that shall be theirs.

        :raises ValueError: for sites in space that would have to be sampled, or a system without a map R.
        """
        system = self.system
        fixed = all_seen(system, batch)
        if fixed:
            return fixed
        if self.options.latents == "data":
            return restricted(system, batch, key, "latents=data")
        if system.sampler.at is None:
            return {}
        program = program_of(system, batch)
        if program.kept is not None:
            raise ValueError(
                f"log_partition=learned does not sample virtual sites, which {system.name} has; allowed is exact, "
                "where log Z is known."
            )
        given = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
        pull = program.pull(jnp.zeros(program.size), jnp.asarray(batch.x[0], float), given)
        if not isinstance(pull, Tether):
            raise ValueError(
                "NUTS moves the width of a normal about each site; allowed is coarse_to_fine=isotropic or "
                "anisotropic, or -m mcem."
            )
        return {}


def _latents(seen: bool) -> str:
    return "X = R(x)" if seen else "latents sampled"


def _labelled(program: Program, batch: Batch, result: NUTSResult, key: Array) -> list[Labelled]:
    """Every member's draws with labels of hidden states made one."""
    out = []
    for m, k in enumerate(jax.random.split(jax.random.fold_in(key, 1), len(batch.x))):
        given = {name: jnp.asarray(v[m], float) for name, v in batch.conditions.items()}
        lp = -result.stats["potential_energy"][:, :, m]
        out.append(
            labelled(program, result.u[:, :, m], lp, jnp.asarray(batch.x[m], float), given, k)
        )
    return out


def nuts(system: System, data: xr.Dataset, **options: Any) -> NUTS:
    """NUTS on ``system``; options are those of :class:`NUTSOptions`.

    :param system: what is fitted.
    :param data: fine configurations, in the layout of :mod:`bayescg.io.netcdf`.
    :param options: those of :class:`NUTSOptions` that are not at their defaults.

    >>> from bayescg import workflow
    >>> data = workflow.make_reference("ising", ["n_f=8", "L_f=2", "mu=0.5", "frames=20"], seed=1)
    >>> ising = workflow.system("ising", data, ratio=4, L2=1, L3=0, prior="normal", prior_scale=1.0)
    >>> run = nuts(ising, data, chains=2, samples=500)
    >>> run.options.samples, run.options.target_accept
    (500, 0.9)
    """
    return NUTS(system, data, options_for(system, "nuts", NUTSOptions(), options))
