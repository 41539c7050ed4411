# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which method when
#
# **Question.** There are nine ways here from data to a pair potential. What does each need, what does it
# cost, how far is its liquid from the reference, and does it say how sure it is? All are run on one system,
# with one model program, and laid side by side.
#
# The system is a liquid of diatomic molecules, simulated by this notebook and mapped to their centres of
# mass. It is small, so that everything runs in minutes, and it is truly coarse-grained: no pair potential
# of centres is the fine liquid. Numbers are of this liquid. On water and hexane the order of methods is
# another; `docs/molecules.md` and `docs/arcg.md` have those tables. At small size only four of the nine
# run.

# %%
import os
import time

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import numpyro
from numpyro.handlers import seed, substitute, trace
import pandas as pd
import xarray as xr

jax.config.update("jax_enable_x64", True)

import bayescg as cg
from bayescg import workflow
from bayescg.distributions import Boltzmann, PeriodicNormal, coefficients, flat_positive
from bayescg.potentials import (
    BSplines,
    FixedPair,
    Harmonic,
    Interaction,
    InversePowers,
    LennardJones,
    LinearPair,
    MolecularPotential,
    Wall,
    classes_of,
)
from bayescg.predict import Production
from bayescg.samplers import Dynamics, particle_sampler
from bayescg.topology import Bonded, Topology
from bayescg.units import beta_of

SMALL = os.environ.get("BAYESCG_NOTEBOOK_SIZE") == "small"
SIDE = 3 if SMALL else 4  # molecules along an edge
CHAINS, SAMPLES = (16, 6) if SMALL else (32, 40)  # of the fine simulation
FRAMES = 32 if SMALL else 320  # that are fitted; the reference is of all
CUTOFF = 6.5 if SMALL else 8.5  # angstrom, of the coarse potential
KNOTS = 1.0 if SMALL else 0.4  # angstrom between knots of splines
MATCH = ["chains=8", "samples=10", "warmup=20", "max_iterations=2"] if SMALL else []
MCEM = (
    ["free_chains=4", "clamped_chains=2", "max_iterations=4", "max_sweeps=8", "information=16"]
    if SMALL
    else []
)
DEAR = ("ibi", "rem", "ybg", "arcg", "nuts")  # of the nine, left out at small size
DRAWS = 6 if SMALL else 50
PRODUCTION = Production(warmup=20, measurements=10, thin=2) if SMALL else Production()
TEMPERATURE = 300.0
BETA = beta_of(TEMPERATURE)  # mol/kcal

# %% [markdown]
# ## Data
#
# Two sites of one type, joined by a stiff bond, with Lennard-Jones between molecules. The package's own
# sampler draws frames far apart, and the gradient of the potential gives the forces. A molecule's centre
# feels the sum of the forces on its two sites.

# %%
MOLECULES, EDGE = SIDE**3, 4.6 * SIDE
BOX = (EDGE,) * 3
pairs = np.arange(2 * MOLECULES).reshape(-1, 2)
fine = Topology(
    ("C",) * (2 * MOLECULES),
    np.full(2 * MOLECULES, 15.0),
    np.repeat(np.arange(MOLECULES), 2),
    bond=Bonded(pairs, ("CC",) * MOLECULES),
    exclusion=pairs,
)
atoms = MolecularPotential(
    (
        Interaction((LennardJones(0.24, 3.55, InversePowers(cutoff=CUTOFF)),), "pair", "C_C"),
        Interaction((LinearPair(jnp.array([50.0, 0.0]), Harmonic(1.9)),), "bond", "CC"),
    ),
    classes_of(fine, [("C", "C")]),
    BOX,
)
spots = 4.6 * np.stack(np.meshgrid(*[np.arange(SIDE)] * 3), -1).reshape(-1, 1, 3)
turn = np.eye(3)[np.arange(MOLECULES) % 3][:, None]  # neighbours lie across each other
start = (spots + 0.95 * np.array([-1.0, 1.0])[:, None] * turn).reshape(1, -1, 3)
sampler = particle_sampler(2 * MOLECULES, BOX, Dynamics("langevin"), start)
ready = sampler.prepare(atoms, jnp.asarray(BETA))


@jax.jit
def simulate(key):
    """Configurations ``(sample, axis, site, chain)``, twenty trajectories apart."""

    def move(state, key):
        return sampler.step(key, state, *ready)[0], None

    def sample(state, key):
        state, _ = jax.lax.scan(move, state, jax.random.split(key, 20))
        return state, state.x

    state = sampler.init(key, CHAINS)
    return jax.lax.scan(sample, state, jax.random.split(key, SAMPLES + 10))[1][10:].astype(float)


x_fine = simulate(jax.random.key(0))
force = jax.jit(lambda x: jax.lax.map(lambda one: -jax.grad(lambda y: atoms(y))(one), x))
frames = x_fine.transpose(0, 3, 2, 1).reshape(-1, 2 * MOLECULES, 3)
of_molecules = np.asarray(force(frames)).reshape(-1, MOLECULES, 2, 3).sum(2)
sites = np.asarray(frames).reshape(-1, MOLECULES, 2, 3)
along = sites[:, :, 1] - sites[:, :, 0]
along -= EDGE * np.round(along / EDGE)  # either site may have crossed the boundary
centres = (sites[:, :, 0] + 0.5 * along) % EDGE
dims = ("frame", "site", "axis")
everything = xr.Dataset(
    {
        "x": (dims, centres),
        "forces": (dims, of_molecules),
        "box": ("axis", np.array(BOX)),
        "type": ("site", np.array(["M"] * MOLECULES)),
        "mass": ("site", np.full(MOLECULES, 30.0)),
        "molecule": ("site", np.arange(MOLECULES)),
    },
    attrs={"temperature": TEMPERATURE},
)
shuffled = np.random.default_rng(0).permutation(len(centres))
data = everything.isel(frame=np.sort(shuffled[:FRAMES]))
reference = cg.observe(everything)
NAME = next(
    str(n) for n in reference.data_vars if str(n).startswith("rdf") and not str(n).endswith("_se")
)
print(
    f"{MOLECULES} molecules in a cube of {EDGE:.1f} Å: {FRAMES} of {len(centres)} frames are fitted"
)

# %% [markdown]
# ## The model
#
# One program for all nine: a liquid of sites with a pair potential, and data around its latent
# configurations. This is `molecular` for one type of beads, with splines; DBI, IBI and IMC have tables in
# their place.

# %%
low = float(reference["r"].where(reference[NAME] > 0, drop=True)[0])  # the closest pair, angstrom
knots = np.linspace(low, CUTOFF, max(4, round((CUTOFF - low) / KNOTS)) + 1)
basis = BSplines(knots)
coarse = Topology(("M",) * MOLECULES, np.full(MOLECULES, 30.0), np.arange(MOLECULES))
classes = classes_of(coarse, [("M", "M")])


def program(x=None, *, frames=1):
    """p(theta) p_c(X | theta_c) p_cf(x | X, sigma2): Eqs. 41 and 61 of the PCG paper."""
    theta_c = coefficients("theta_c", len(basis.names), prior="ard")
    sigma2 = flat_positive("sigma2")
    pair = Interaction((LinearPair(theta_c, basis), FixedPair(Wall(low), 500.0)), "pair", "M_M")
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            MolecularPotential((pair,), classes, BOX),
            BETA,
            log_partition=None,  # none is known; NUTS learns it from simulations
            event_shape=(MOLECULES, 3),
            support=numpyro.distributions.constraints.real,
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", PeriodicNormal(X, sigma2, box=BOX), obs=x)


some = jnp.asarray(data["x"].values[:2])
ran = trace(substitute(seed(program, 0), {"sigma2": 0.01, "X": some})).get_trace(some)
{
    name: (type(s["fn"]).__name__, np.shape(s["value"]))
    for name, s in ran.items()
    if s["type"] == "sample"
}

# %% [markdown]
# What a method does with it is to choose four things, and the choice is the method (`bayescg.limits`).

# %%
SPLINE = [f"cutoff={CUTOFF}", f"knots={KNOTS}"]
TABLE = [f"cutoff={CUTOFF}", f"width={0.4 if SMALL else 0.1}"]
CRITIC = [
    "features=statistics",
    "penalty=0.01",
    "steps=natural",
    "rate=1.0",
    "decay=0.9",
    "relax=2",
    "samples=6",
]
TWENTY = [f"frames={4 if SMALL else 20}", "correlated=ignore"]  # frames here are independent
TWO = [f"cutoff={CUTOFF}", "pair=lj", "positive=lognormal"]  # two parameters
METHODS = {  # model options, method options, what it needs
    "dbi": (TABLE, [], "distributions"),
    "ibi": (TABLE, MATCH, "distributions, simulation"),
    "imc": (TABLE, MATCH, "distributions, simulation"),
    "rem": (SPLINE, MATCH, "frames, simulation"),
    "fm": (SPLINE, [], "frames with forces"),
    "ybg": (SPLINE, [], "frames"),
    "arcg": (SPLINE, CRITIC, "frames, simulation, a critic"),
    "mcem": ([*SPLINE, *TWENTY], MCEM, "frames, simulation, latents"),
    "nuts": (
        [*TWO, *TWENTY],
        ["latents=data", "warmup=500", "samples=2000"],
        "frames, log Z from simulations",
    ),
}
pd.DataFrame(
    {
        "dbi": ("X = x", "flat", "zero density", "one shot"),
        "ibi": ("X = x", "flat", "simulated", "ideal gas's response"),
        "imc": ("X = x", "flat", "simulated", "Newton on bins"),
        "rem": ("X = x", "flat", "simulated", "Newton on coefficients"),
        "fm": ("X = x", "any", "not needed", "least squares on forces"),
        "ybg": ("X = x", "flat", "not needed", "the same equations, from structure"),
        "arcg": ("X = x, or a pre-map", "flat", "a critic instead", "covariance with its witness"),
        "mcem": ("latent X", "any", "simulated", "Newton, then Laplace"),
        "nuts": ("latent X, or X = x", "any", "exact, or learned", "the whole posterior"),
    },
    index=["map x to X", "prior", "log Z", "update"],
).T

# %% [markdown]
# ## Nine fits

# %%
results, seconds = {}, {}
for method, (options, settings, _) in METHODS.items():
    if SMALL and method in DEAR:
        continue
    began = time.perf_counter()
    results[method] = workflow.fit(
        "molecular", data, method=method, options=options, method_options=settings
    )
    seconds[method] = time.perf_counter() - began
    attrs = cg.results.attrs(results[method])
    print(
        f"{method}: {attrs['ended']}; {seconds[method]:.0f} s",
        *cg.results.told(attrs, "messages"),
        sep="\n    ",
    )

# %% [markdown]
# ## Diagnostics
#
# Of the nine only NUTS has chains that could disagree. It has a Lennard-Jones potential here, with two
# parameters: a log Z that is learned from simulations is a matter of minutes for two parameters and of hours
# for many. MC-EM has the splines of REM, and a sixteenth of its frames; its draws are independent, and those of
# a normal distribution, in which relevance has pushed to zero whatever the frames do not ask for.

# %%
shown = {"nuts": (["epsilon", "sigma"], "all"), "mcem": (["theta_c", "sigma2"], "stats")}
for method, (names, kind) in shown.items():
    if method in results:
        print(method, az.summary(results[method], var_names=names, kind=kind), sep="\n")

# %%
method = "nuts" if "nuts" in results else "mcem"
az.plot_trace(results[method], var_names=shown[method][0])
plt.tight_layout()
plt.show()

# %% [markdown]
# ## Potentials

# %%
fig, ax = plt.subplots(figsize=(6.5, 4))
for k, (method, result) in enumerate(results.items()):
    group = cg.results.group(result, "posterior")
    u = group[next(str(n) for n in group.data_vars if "pair_potential" in str(n))]
    r = u[next(d for d in u.dims if d not in ("chain", "draw"))]
    colour = (*cg.plot.COLOURS, "k")[k]
    ax.plot(r, u.mean(("chain", "draw")), color=colour, label=method)
    if u.sizes["chain"] * u.sizes["draw"] > 1:
        low_u, high_u = u.quantile([0.05, 0.95], ("chain", "draw")).values
        ax.fill_between(r, low_u, high_u, color=colour, alpha=0.25, lw=0)
ax.set(
    xlim=(3, CUTOFF),
    ylim=(-1.2, 2),
    xlabel="distance r / Å",
    ylabel="u(r) / kcal/mol",
    title="pair potential of centres (bands: 5–95 %)",
)
ax.legend(ncols=2)
plt.show()

# %% [markdown]
# ## Prediction
#
# Every result is simulated anew, and measured beside the reference.

# %%
for method, result in results.items():
    held = cg.results.group(result, "posterior").sizes
    draws = min(DRAWS, held["chain"] * held["draw"])  # a point estimate is one
    results[method] = cg.predict(result, draws=draws, reference=reference, production=PRODUCTION)

# %%
fig, axes = plt.subplots(3, 3, figsize=(11, 8), sharex=True, sharey=True)
for ax, (method, result) in zip(axes.ravel(), results.items(), strict=False):
    cg.plot.band(result, NAME, ax=ax, interval=(0.05, 0.95), label=f"{method}, 5–95 %")
    ax.set(xlim=(3, CUTOFF), title=method, ylabel="g(r)")
fig.suptitle("RDF of the model and of the fine liquid (dashed)")
fig.tight_layout()

# %%
compared = workflow.compare(results, reference)
rows = {}
for row in compared.rows:
    result = results[row.label]
    values = cg.results.group(result, "posterior_predictive")[NAME]
    many = values.sizes["chain"] * values.sizes["draw"] > 1
    low_g, high_g = (values.quantile(q, ("chain", "draw")) for q in (0.05, 0.95))
    exact = np.interp(values["r"], reference["r"], reference[NAME])
    seen = exact > 0
    inside = ((low_g <= exact) & (exact <= high_g)).values[seen].mean()
    rows[row.label] = {
        "needs": METHODS[row.label][2],
        "frames": data.sizes["frame"] if row.frames is None else row.frames,
        "converged": {True: "yes", False: "no", None: "-"}[row.converged],
        "iterations": row.iterations,
        "seconds": round(seconds[row.label]),
        "rms error of g(r)": round(row.distances[NAME].rms, 4),
        "gives": "draws" if many else "a point",
        "band holds g(r) in": f"{inside:.0%}" if many else "-",
    }
print(
    f"standard error of the reference, in the same measure: {compared.rows[0].distances[NAME].reference_error:.4f}"
)
table = pd.DataFrame(rows).T
table

# %%
fig, ax = plt.subplots(figsize=(6, 3.6))
for k, (method, row) in enumerate(rows.items()):
    at = max(row["seconds"], 1), row["rms error of g(r)"]
    ax.plot(*at, "o", color=(*cg.plot.COLOURS, "k")[k])
    beside = (4, 4) if k % 2 else (4, -12)  # two that stand together are both read
    ax.annotate(method, at, xytext=beside, textcoords="offset points")
ax.margins(0.15)
ax.axhline(
    compared.rows[0].distances[NAME].reference_error,
    color="k",
    ls="--",
    label="error of the reference",
)
ax.set(
    xscale="log",
    yscale="log",
    xlabel="seconds, with compilation",
    ylabel="rms error of g(r)",
    title="what a better g(r) costs",
)
ax.legend()
plt.show()

# %% [markdown]
# Below the error of the reference no difference means anything. Seconds hold compilation. Where a band
# holds too few of the values, it is that of the parameters only; a method may well be right about its
# parameters with a model that cannot be the data.
#
# `nuts` is such a case. Centres of two-site molecules repel more softly than any $r^{-12}$: the posterior takes
# the attraction away (`epsilon` goes to zero, and `sigma` grows so that $\epsilon\sigma^{12}$ stays), and its g(r)
# is the worst of the nine. Relative entropy with the same two parameters does no better; it finds no place to
# end. A posterior tells how well parameters are known within a form. That the form is right, only a prediction
# beside data tells.
#
# ## What it means: which, then
#
# | you have, or want | take | and know |
# |---|---|---|
# | distributions alone | `imc`, or `ibi` | a point; what distributions leave open is not told |
# | a first look, or a start | `dbi` | potentials of mean force hold what neighbours do |
# | few parameters, any form | `rem` | the same optimum as IMC's, in your basis |
# | forces | `fm` | seconds, with a posterior; structure is not what it fits |
# | no forces, no simulations | `ybg` | the same equations from structure, and noisier |
# | sites that the data lack, other divergences | `arcg` | nothing tells that a critic sees too little |
# | intervals, few frames, any size | `mcem` | Laplace around the mode; latents are sampled |
# | the posterior itself | `nuts` | log Z must be exact, or learned for few parameters |
#
# The last column is what was measured in `docs/`, on more systems than this one.
