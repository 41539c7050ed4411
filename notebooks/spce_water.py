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
# # SPC/E water, one site a molecule
#
# **Question.** A hundred rigid water molecules are replaced by a hundred sites. From twenty frames of
# molecular dynamics, what is the coarse potential and how well is it known? Which structure does it
# predict, and where is the coarse model unable to be water at all?
#
# The system is that of Section 3.2 of the predictive coarse-graining (PCG) paper; `docs/water.md` tells
# what each choice rests on. At small size this notebook only shows that it runs: ten correction functions,
# four frames, no three-body term and a search that is cut short. None of its numbers mean anything then.

# %%
from dataclasses import replace
import os

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
from bayescg.distributions import Boltzmann, PeriodicNormal, ard, flat_positive
from bayescg.potentials import (
    FixedPair,
    InversePowers,
    LennardJones,
    LinearPair,
    ParticlePotential,
    StillingerWeber,
    Wall,
    WindowedFourier,
)
from bayescg.predict import Production
from bayescg.samplers import long_run
from bayescg.units import beta_of

SMALL = os.environ.get("BAYESCG_NOTEBOOK_SIZE") == "small"
FRAMES, FEATURES, THREE_BODY = (4, 10, "none") if SMALL else (20, 100, "sw")
MCEM = (
    {
        "free_chains": 4,
        "clamped_chains": 2,
        "max_iterations": 6,
        "likelihood_first": 2,
        "warm": 3,
        "max_sweeps": 8,
        "information": 16,
    }
    if SMALL
    else {}  # the system's own
)
DRAWS = 8 if SMALL else 100
PRODUCTION = Production(warmup=20, measurements=15, thin=2) if SMALL else Production()

# %% [markdown]
# ## Data
#
# Centres of mass of 100 molecules at 300 K in a cube, 10 ps apart, from 5.1 ns of molecular dynamics at
# constant volume. Beside them `long_run.nc` holds the radial and angular distribution functions (RDF, ADF)
# of all 51,000 frames of that run: the truth that predictions are judged by.

# %%
data = cg.io.load("../data/spce_water/frames.nc").isel(frame=slice(FRAMES))
reference = xr.load_dataset("../data/spce_water/long_run.nc")  # distributions, no frames
measured = cg.observe(data, [cg.rdf(width=0.1, max=7.2)])
fig, ax = plt.subplots(figsize=(5.5, 3.4))
ax.errorbar(
    measured["r"],
    measured["rdf"],
    yerr=measured["rdf_se"],
    fmt=".",
    ms=3,
    color=cg.plot.COLOURS[2],
    label=f"{FRAMES} frames, standard error",
)
ax.plot(reference["r"], reference["rdf"], "k--", lw=1, label="long run")
ax.set(
    xlim=(2, 7.2),
    xlabel="distance r / Å",
    ylabel="g(r)",
    title="SPC/E water at 300 K, centres of mass",
)
ax.legend()
plt.show()

# %% [markdown]
# ## The model
#
# $$
# p_c(X \mid \theta) \propto e^{-\beta U(X)}, \qquad
# p_{cf}(x \mid X) = \prod_j N(x_j \mid X_j, \sigma^2 I), \qquad
# U = \sum_{j<k} \Bigl[u_{LJ}(R_{jk}) + \sum_a \theta_a\phi_a(R_{jk}) + w(R_{jk})\Bigr] + U_3(X) .
# $$
#
# Lennard-Jones is corrected by sines and cosines in a window; automatic relevance determination (ARD)
# switches off those that the data do not need. The three-body term of Stillinger and Weber, $U_3$, is
# fixed, and the wall $w$ acts only where no data are. There is no $\log Z$: the program can be run and
# fitted by MC-EM without its density.

# %%
shipped = cg.system(
    "spce_water", data, frames=FRAMES, features=FEATURES, three_body=THREE_BODY, correlated="ignore"
)
BETA = beta_of(data.attrs["temperature"])  # mol/kcal
EDGES = tuple(map(float, data["box"].values))  # angstrom
CORE = shipped.options["core"]  # the closest pair of the data, angstrom
basis = WindowedFourier(
    FEATURES, (2.0, 7.0), unit="window", edges="smooth", taper=0.5
)  # Eqs. 66, 67
lennard_jones = InversePowers(cutoff=7.0)
three_body = StillingerWeber(0.762 * 83.5737) if THREE_BODY == "sw" else None  # Appendix B.3


def potential(theta_c, epsilon, sigma):
    """U of one configuration, kcal/mol."""
    wall = FixedPair(Wall(CORE), 500.0)  # kcal/mol/angstrom^3
    pairs = (LennardJones(epsilon, sigma, lennard_jones), LinearPair(theta_c, basis), wall)
    return ParticlePotential(pairs, EDGES, three_body)


def program(x=None, *, frames=1):
    """p(theta) p_c(X | theta_c) p_cf(x | X, theta_cf): Eqs. 41, 61, 63-68 of the PCG paper."""
    theta_c = ard("theta_c", FEATURES)
    epsilon, sigma = flat_positive("epsilon"), flat_positive("sigma")
    sigma2 = flat_positive("sigma2")
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            potential(theta_c, epsilon, sigma),
            BETA,
            log_partition=None,
            event_shape=(data.sizes["site"], 3),
            support=numpyro.distributions.constraints.real,
            sampler=long_run(shipped.sampler),
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", PeriodicNormal(X, sigma2, box=EDGES), obs=x)


# %% [markdown]
# Flat priors cannot be sampled, so that we give those parameters a value and look at the sites of the
# program.

# %%
x = jnp.asarray(data["x"].values, float)
given = {
    "tau": jnp.ones(FEATURES),
    "theta_c": jnp.zeros(FEATURES),
    "epsilon": 0.15,
    "sigma": 3.5,
    "sigma2": 0.01,
    "X": x,
}
ran = trace(substitute(seed(program, 0), given)).get_trace(x)
pd.DataFrame(
    {
        name: {
            "distribution": type(s["fn"]).__name__,
            "shape": np.shape(s["value"]),
            "observed": s["is_observed"],
        }
        for name, s in ran.items()
        if s["type"] == "sample"
    }
).T

# %%
theta = 0.1 * jax.random.normal(jax.random.key(4), (FEATURES,))
values = {**given, "theta_c": theta, "epsilon": 1.0, "sigma": 3.0, "sigma2": 0.01, "X": x}
energies = [
    float(trace(substitute(seed(p, 0), values)).get_trace(x)["X"]["fn"].base_dist.potential(x[0]))
    for p in (program, shipped.program)
]
print(
    "energy of the first frame, kcal/mol: here {:.6f}, in the shipped program {:.6f}".format(
        *energies
    )
)
assert np.isclose(*energies)
water = replace(shipped, program=program)

# %% [markdown]
# ## Inference
#
# MC-EM samples the latents around the frames and chains of the liquid, climbs with Newton's steps, and puts
# a Laplace approximation around the mode. It stops when a step is below a fraction of a posterior standard
# deviation, and its Monte Carlo error too.

# %%
fit = cg.mcem(water, data, **MCEM).run(jax.random.key(0))
print(
    fit.approximation,
    f"converged: {bool(fit.converged.all())} ({fit.ended})",
    *fit.messages,
    sep="\n",
)
print(f"{fit.seconds:.0f} s")

# %% [markdown]
# ## Diagnostics
#
# What is to be believed of MC-EM is its search: the length of the Newton step that is left, in posterior
# standard deviations.

# %%
map_draws = cg.to_inference_data(fit)
distance = cg.results.group(map_draws, "em_trace")["distance"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.2))
axes[0].semilogy(distance.values, ".-", color=cg.plot.COLOURS[0])
axes[0].set(xlabel="iteration", ylabel="Newton step / posterior sd", title="distance from the mode")
theta = cg.results.group(map_draws, "posterior")["theta_c"]
axes[1].semilogy(abs(theta.mean(("chain", "draw"))).values + 1e-8, ".", color=cg.plot.COLOURS[0])
axes[1].axhline(0.01, color="k", lw=0.6)
axes[1].set(
    xlabel="coefficient", ylabel="|θ| / kcal/mol", title="what ARD leaves (line: 0.01 kcal/mol)"
)
fig.tight_layout()

# %% [markdown]
# ArviZ summarises the draws, of which there is one chain. They are independent draws of a normal
# distribution in $\log\epsilon$, $\log\sigma$, $\log\sigma^2$ and the coefficients, bent along the ridge of
# Lennard-Jones. Effective draws say nothing of whether that is the posterior. `docs/intervals.md` has NUTS
# beside it for this system, some twenty minutes: the bands of $u(r)$ agree within 16 %.

# %%
az.summary(map_draws, var_names=["epsilon", "sigma", "sigma2"], kind="stats", round_to=5)

# %% [markdown]
# Single parameters of Lennard-Jones are badly known, since the correction can do what Lennard-Jones does.
# Their sum, the pair potential, is known well. That is why we look at it, and at no parameter by itself.

# %%
u = cg.results.group(map_draws, "posterior")["pair_potential"]
fig, ax = plt.subplots(figsize=(5.5, 3.6))
low, middle, high = u.quantile([0.1, 0.5, 0.9], ("chain", "draw")).values
ax.fill_between(u["r"], low, high, alpha=0.3, color=cg.plot.COLOURS[0], lw=0, label="10–90 %")
ax.plot(u["r"], middle, color=cg.plot.COLOURS[0], label="median")
ax.plot(
    u["r"],
    u.isel(chain=0, draw=slice(10)).transpose("r", ...).values.reshape(len(u["r"]), -1),
    lw=0.4,
    color="0.5",
)
ax.set(
    xlim=(2.3, 7),
    ylim=(min(-1, 1.2 * low.min()), 3),
    xlabel="distance r / Å",
    ylabel="u(r) / kcal/mol",
    title="pair potential: posterior and ten draws",
)
ax.legend()
plt.show()
print(f"deepest point {middle.min():.2f} kcal/mol at {float(u['r'][middle.argmin()]):.2f} Å")

# %% [markdown]
# ## Prediction
#
# Every draw is simulated, and the fine scale is drawn around its sites. The RDF is what the potential was
# fitted to. The ADF is of triples, which no pair potential can set at will.

# %%
idata = cg.predict(
    fit,
    [cg.rdf(width=0.1, max=7.2), cg.adf()],
    draws=DRAWS,
    reference=reference,
    production=PRODUCTION,
)
print(*cg.results.told(cg.results.attrs(idata), "predict_messages"), sep="\n")

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.6))
cg.plot.band(idata, "rdf", ax=axes[0])
axes[0].set(xlim=(2, 7.2), title="radial distribution function")
cg.plot.band(idata, "adf", ax=axes[1])
axes[1].set_title("angular distribution function")
for ax in axes:
    ax.legend(fontsize=8)
fig.tight_layout()

# %%
target = cg.results.group(idata, "reference")
rows = {}
for name, words in (("rdf", "g(r), 2.4 to 7.2 Å"), ("adf", "p(ω), all angles")):
    axis = "r" if name == "rdf" else "angle"
    at = target[axis] >= (2.4 if name == "rdf" else 0.0)
    exact = target[name].where(at, drop=True)
    for group, interval in (
        ("posterior_predictive", "within the model"),
        ("discrepancy", "error allowed for"),
    ):
        if not cg.results.has_group(idata, group):
            continue  # of fewer than twenty draws
        values = cg.results.group(idata, group)[name].where(at, drop=True)
        low, high = (values.quantile(q, ("chain", "draw")) for q in (0.1, 0.9))
        rows[words, interval] = {
            "error of the mean": float(
                np.sqrt(((values.mean(("chain", "draw")) - exact) ** 2).mean())
            ),
            "10-90 % holds": float(((low <= exact) & (exact <= high)).mean()),
            "mean width": float((high - low).mean()),
        }
gap = measured["rdf"] - np.interp(measured["r"], reference["r"], reference["rdf"])
frames_error = np.sqrt((gap.where(gap["r"] >= 2.4) ** 2).mean())
print(f"error of the RDF of the {FRAMES} frames themselves: {float(frames_error):.3f}")
pd.DataFrame(rows).T.round(4)

# %% [markdown]
# ## What it means
#
# - Ten parameters or so of a hundred carry the potential at full size; the others are switched off, and the
#   RDF of twenty frames is predicted about as well as those frames know it.
# - The band is that of the model. One site a molecule, with this potential, cannot be all of water: the
#   ADF's peak and dip are too strong, and more frames would make the band narrower around the same error.
#   The second interval, where there are enough draws for it, is the one that allows for this.
# - The pressure of such a model is thousands of bar, where the box is that of 1 bar. Structure says little
#   of it. Do not use a potential for what it was not fitted to without a look at `docs/water.md`.
