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
# # The Ising lattice: from data to prediction
#
# **Question.** Sixty-four spins on a ring interact over eight neighbours. We see twenty configurations in
# each of a few external fields, keep one coarse spin for eight fine ones, and ask: what do the data say of
# the coarse potential, what does it predict of the fine lattice, and how sure may we be? The fine lattice
# is small enough for every exact answer to be known, so that each claim can be checked.
#
# The system is that of Section 3.1 of the predictive coarse-graining (PCG) paper of Schöberl, Zabaras and
# Koutsourelakis. `README.md` in this folder says how long this takes. At small size there are sixteen fine
# spins for a coarse one, one field and short chains; numbers below are then rougher than the text says.

# %%
from dataclasses import replace
import os

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import numpyro
from numpyro.handlers import seed, trace
from numpyro.infer.util import log_density
import pandas as pd

jax.config.update("jax_enable_x64", True)

import bayescg as cg
from bayescg.distributions import Boltzmann, SpinFlip, exact_for, half_to_one, normal
from bayescg.observables import magnetization
from bayescg.potentials import SpinPotential, independent_features, polynomial_features

SMALL = os.environ.get("BAYESCG_NOTEBOOK_SIZE") == "small"
FIELDS = [1.0] if SMALL else [0.2, 0.4, 0.6, 1.0, 1.6, 2.4]
NUTS = {"warmup": 80, "samples": 80, "max_tree_depth": 5} if SMALL else {}  # {}: 1000 of both
PRIOR_DRAWS = 100 if SMALL else 1000
DRAWS = 25 if SMALL else 200  # of each posterior, in predictions
SEARCH = (
    {"tolerance": 0.5, "max_iterations": 12, "max_sweeps": 64} if SMALL else {}
)  # of MC-EM and REM; {}: their own
RATIO, FRAMES = (16 if SMALL else 8), 20

# %% [markdown]
# ## Data
#
# The shipped file holds 100 independent exact samples of the fine lattice at 41 fields, with the exact
# magnetisation and correlations beside them. We take the first twenty of each field.

# %%
data = cg.io.load("../data/ising/sweep.nc").sel(mu=FIELDS, method="nearest")
x = data["x"].isel(frame=slice(FRAMES)).transpose("mu", "frame", "site").values
SHOWN = sorted({0, len(FIELDS) // 2})  # fields that are drawn
fig, axes = plt.subplots(1, len(SHOWN), figsize=(9, 3.2), sharey=True, squeeze=False)
for ax, i in zip(axes[0], SHOWN, strict=True):
    ax.imshow(x[i], cmap="gray", aspect="auto", interpolation="nearest")
    ax.set(title=f"fine spins at μ = {float(data['mu'][i]):.1f} (white: +1)", xlabel="site")
axes[0, 0].set_ylabel("frame")
fig.tight_layout()

# %% [markdown]
# ## The model
#
# A coarse spin $X_I = \pm1$ stands for eight fine ones. The model is generative, from the parameters to the
# data:
#
# $$
# \theta \sim N(0, 1), \qquad p_0 \sim U(\tfrac12, 1), \qquad
# X_i \sim \frac{e^{-\beta U(X;\,\theta, \mu)}}{Z(\theta)}, \qquad
# x_{ij} = X_{i,I(j)} \ \text{with probability}\ p_0 .
# $$
#
# The coarse potential is a sum of one-, two- and three-spin terms (Eq. 55 of the paper). Terms that
# coincide on so small a ring are tied, so that every coefficient means something.
#
# Below is the whole program. `Boltzmann` is a NumPyro distribution whose normaliser comes from a strategy;
# eight spins have 256 states, and `exact_for` chooses their enumeration.

# %%
SITES, BETA = data.sizes["site"] // RATIO, float(data.attrs["beta"])
basis = independent_features(SITES, polynomial_features(SITES // 2, 3), "tie").basis
log_partition = exact_for(basis)


def program(x=None, *, mu, frames=1):
    """p(theta) p_c(X | theta_c) p_cf(x | X, p0): Eqs. 51 and 55 of the PCG paper, under a normal prior."""
    theta_c = normal("theta_c", len(basis.features), scale=1.0)
    p0 = half_to_one("p0")  # Eq. 52
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            SpinPotential(theta_c, mu, basis),
            BETA,
            log_partition=log_partition,
            event_shape=(basis.sites,),
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", SpinFlip(X, p0, ratio=RATIO), obs=x)


# %% [markdown]
# It is a NumPyro program like any other: it can be run, traced, conditioned.

# %%
ran = trace(seed(program, 0)).get_trace(mu=FIELDS[0], frames=3)
pd.DataFrame(
    {
        name: {
            "distribution": type(site["fn"]).__name__,
            "shape": np.shape(site["value"]),
            "log density": f"{float(jnp.sum(site['fn'].log_prob(site['value']))):.2f}",
        }
        for name, site in ran.items()
        if site["type"] == "sample"
    }
).T

# %% [markdown]
# `bayescg` ships this system with the options of the paper. Its record holds what an inference needs beside
# the program: a Gibbs sampler for $X$, observables, the map $R(x)$. We put the program of this notebook
# into it, and check that it is the density of the shipped one.

# %%
shipped = cg.system("ising", data, ratio=RATIO, prior="normal", prior_scale=1.0, frames=FRAMES)
ising = replace(shipped, program=program)
values = {name: site["value"] for name, site in ran.items() if site["type"] == "sample"}
ours, theirs = (
    float(log_density(p, (values["x"],), {"mu": jnp.asarray(FIELDS[0])}, values)[0])
    for p in (program, shipped.program)
)
print(f"log density of this program {ours:.6f}, of the shipped one {theirs:.6f}")
assert np.isclose(ours, theirs)
print("coefficients:", ", ".join(ising.features))

# %% [markdown]
# ### What the prior says
#
# Before any data are seen the program predicts data. A prior is reasonable if these are not absurd: it
# should neither know the magnetisation nor exclude any.

# %%
drawn = jax.vmap(
    lambda key: trace(seed(program, key)).get_trace(mu=FIELDS[0], frames=1)["x"]["value"]
)(jax.random.split(jax.random.key(3), PRIOR_DRAWS))
fig, ax = plt.subplots(figsize=(5.5, 3.2))
bins = np.linspace(-1, 1, 25)
ax.hist(np.asarray(drawn).mean(-1).ravel(), bins, density=True, alpha=0.5, label="prior predictive")
ax.hist(x[0].mean(-1), bins, density=True, histtype="step", label=f"{FRAMES} frames")
ax.set(
    xlabel="magnetisation of a configuration",
    ylabel="density",
    title=f"before the data, at μ = {FIELDS[0]}",
)
ax.legend()
plt.show()

# %% [markdown]
# ## Inference
#
# **MC-EM with a Laplace approximation** is the paper's way. Chains of $p(X \mid x_i, \theta)$ and of $p_c(X
# \mid \theta)$ give the gradient and curvature of the log posterior, Newton's steps climb it, and its
# curvature at the top becomes a normal distribution, whose draws are corrected by importance weights.

# %%
fit = cg.mcem(ising, data, **SEARCH).run(jax.random.key(0))
print(fit.approximation, f"converged: {fit.converged}", *fit.messages, sep="\n")

# %% [markdown]
# The Pareto k-hat of the weights says whether the normal distribution covers the posterior: above 0.7 it
# does not, and the message above names the fields where.

# %%
pd.DataFrame({"field": data["mu"].values, "k-hat": fit.groups["map"]["khat"].values.round(2)})

# %% [markdown]
# **NUTS** reads the same program. Since $\log Z$ is exact and spins flip independently given $X$, the sum
# over all $X$ is exact too, and the sampler moves in the eleven parameters alone.

# %%
whole = cg.nuts(ising, data, **NUTS).run(jax.random.key(1))
print(whole.approximation, f"converged: {whole.converged}", *whole.messages, sep="\n")

# %% [markdown]
# ## Diagnostics
#
# A result is ArviZ's own container, so that all of ArviZ works on it. R-hat near 1 and hundreds of
# effective draws say that the four chains agree with each other.

# %%
posterior = cg.to_inference_data(whole)
az.summary(posterior, var_names=["p0"])

# %%
az.plot_trace(posterior, var_names=["p0"])
plt.show()

# %%
rows = cg.results.summary(posterior)
print(f"largest R-hat of {len(rows)} quantities: {rows['r_hat'].max():.3f}")
print(
    f"fewest effective draws: {rows['ess_bulk'].min():.0f} (bulk), {rows['ess_tail'].min():.0f} (tail)"
)

# %% [markdown]
# ### What the two posteriors disagree about
#
# Both have the same program, prior and data. Where the posterior is skewed a normal distribution around its
# mode is not it, and NUTS is the one to believe.

# %%
laplace = cg.to_inference_data(fit)
fig, axes = plt.subplots(1, len(SHOWN), figsize=(9, 3.6), sharey=True, squeeze=False)
for ax, i in zip(axes[0], SHOWN, strict=True):
    for shift, name, result, colour in (
        (-0.12, "NUTS", posterior, cg.plot.COLOURS[0]),
        (0.12, "MC-EM and Laplace", laplace, cg.plot.COLOURS[2]),
    ):
        theta = cg.results.group(result, "posterior")["theta_c"].isel(mu=i)
        low, middle, high = theta.quantile([0.05, 0.5, 0.95], ("chain", "draw")).values
        place = np.arange(len(middle)) + shift
        ax.errorbar(
            middle,
            place,
            xerr=[middle - low, high - middle],
            fmt="o",
            ms=3,
            color=colour,
            label=name,
        )
    ax.axvline(0, color="k", lw=0.5)
    ax.set(
        xlabel="coefficient (median, 5–95 %)",
        title=f"coarse potential at μ = {float(data['mu'][i]):.1f}",
        yticks=range(len(ising.features)),
        yticklabels=ising.features,
    )
axes[0, 0].legend(fontsize=8)
fig.tight_layout()

# %% [markdown]
# ## Prediction
#
# Every posterior draw is a model of the fine lattice: simulate it, flip its spins, and measure. What the
# draws disagree about is the interval *within the model*. `predict` adds a second one, which allows for the
# model's own error by how far its prediction is from the average over the fitted frames.

# %%
predicted = cg.predict(whole, reference=data, draws=DRAWS)
print(*cg.results.told(cg.results.attrs(predicted), "predict_messages"), sep="\n")

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6))
m = cg.results.group(predicted, "posterior_predictive")["magnetization"]
low, middle, high = m.quantile([0.05, 0.5, 0.95], ("chain", "draw")).values
axes[0].errorbar(
    m["mu"],
    middle,
    yerr=[middle - low, high - middle],
    fmt="o",
    color=cg.plot.COLOURS[0],
    label="NUTS, 5–95 %",
)
axes[0].plot(data["mu"], data["magnetization"], "k_", ms=14, label="exact")
axes[0].set(
    title="magnetisation of the fine lattice",
    xlabel="external field μ",
    ylabel="magnetisation per site",
)
cg.plot.band(predicted, "correlation", select={"mu": FIELDS[0]}, ax=axes[1], label="NUTS, 5–95 %")
axes[1].set_title(f"correlation at μ = {FIELDS[0]}")
for ax in axes:
    ax.legend()
fig.tight_layout()


# %%
def held(result, group, name):
    """Share of the exact values that the 5-95 % interval holds, and its mean width."""
    exact = cg.results.group(result, "reference")[name]
    values = cg.results.group(result, group)[name]
    low, high = (values.quantile(q, ("chain", "draw")) for q in (0.05, 0.95))
    return float(((low <= exact) & (exact <= high)).mean()), float((high - low).mean())


rows = []
for group, words in (
    ("posterior_predictive", "within the model"),
    ("discrepancy", "error allowed for"),
):
    for name in ("magnetization", "correlation"):
        share, width = held(predicted, group, name)
        rows.append((name, words, f"{share:.0%}", f"{width:.3f}"))
pd.DataFrame(rows, columns=["observable", "interval", "holds the exact value", "mean width"])

# %% [markdown]
# Values at neighbouring separations go up and down together and a few fields are few, so that these shares
# are an impression, no measurement. `intervals.py` repeats the experiment over many data sets.
#
# ## A limiting case: relative entropy minimisation
#
# REM is the same program with the latent configuration fixed at $X = R(x)$, the majority of each block,
# under a flat prior. It gives a point. With ten coefficients and twenty frames some combination of spins
# never occurs, which puts the flat prior's optimum at infinity; the package would then fall back to
# normal(0, 10), and we take that from the start.

# %%
wide = cg.system(
    "ising", data, ratio=RATIO, prior="normal", prior_scale=10.0, frames=FRAMES, ties="random"
)
rem = cg.limits.rem(wide, data, **SEARCH).run(jax.random.key(2))
print(rem.approximation, *rem.messages, sep="\n")
point = cg.predict(rem, [magnetization()], reference=data)

# %%
exact = data["magnetization"].values
average = x.mean((1, 2))
rows = {"average of the frames": average - exact}
for name, result in (("NUTS", predicted), ("REM", point)):
    m = cg.results.group(result, "posterior_predictive")["magnetization"].mean(("chain", "draw"))
    rows[name] = m.values - exact
table = pd.DataFrame(rows, index=[f"μ = {m:.1f}" for m in data["mu"].values]).T
table["root mean square"] = np.sqrt((table**2).mean(axis=1))
table.round(3).rename_axis("error of the magnetisation")

# %% [markdown]
# ## What it means
#
# - Twenty frames decide some combinations of the coefficients and leave others open. Single coefficients
#   may therefore be uncertain by more than their size, while the magnetisation is known to a few
#   hundredths.
# - NUTS is the reference for what the posterior is. MC-EM finds its mode without knowing $\log Z$, which is
#   what larger systems need; its Laplace draws are believed as far as k-hat allows.
# - Predictions of a coarse model can be wrong in ways that no parameter mends. At this ratio spins within a
#   block are conditionally independent, so that nearest neighbours are correlated too weakly. The interval
#   within the model does not know that; the second one does, since the data show it.
# - REM's deterministic map loses what the blocks disagree about. Its error against the probabilistic map's
#   stands in the table; `docs/ising.md` has the same for 41 fields and ratio 2.
