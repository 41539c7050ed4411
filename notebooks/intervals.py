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
# # Can I believe the intervals?
#
# **Question.** A result comes with intervals. They can be wrong in two ways: the method may not sample the
# posterior that it says, and the model may be unable to be the data, however well its parameters are known.
# Neither shows in a single fit. Here data sets cost nothing and exact answers are known, so that both are
# measured: how often do 90 % intervals hold the truth?
#
# The lattice is that of `ising.py`. At small size two data sets show that it runs, and nothing else.
# `docs/intervals.md` has the same with 400 data sets for each of three models and four fields.

# %%
import inspect
import os

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from numpyro.handlers import seed, trace
import pandas as pd
from scipy.stats import chi2
from scipy.stats import t as student
import xarray as xr

jax.config.update("jax_enable_x64", True)

import bayescg as cg
from bayescg import workflow
from bayescg_models import ising

SMALL = os.environ.get("BAYESCG_NOTEBOOK_SIZE") == "small"
SETS = 2 if SMALL else 60  # data sets, of each experiment
RATIO = 16 if SMALL else 8  # fine spins for a coarse one
NUTS = (
    {"chains": 2, "warmup": 60, "samples": 60, "max_tree_depth": 5}
    if SMALL
    else {"chains": 2, "warmup": 500, "samples": 500}
)
MCEM = {"tolerance": 0.5, "max_iterations": 12, "max_sweeps": 64} if SMALL else {}  # {}: its own
DRAWS = 24 if SMALL else 200  # of each posterior, in predictions
FRAMES, FIELD, LEVEL = 20, 0.5, 0.9
ENDS = [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]

# %% [markdown]
# ## The model
#
# One coarse spin stands for a block, with a potential of one-, two- and three-spin terms, and each fine
# spin equals its block's with probability $p_0$. This is the shipped program; `ising.py` writes it out and
# explains it.

# %%
print(inspect.getsource(ising.program))

# %% [markdown]
# ## Many data sets
#
# Each is made of twenty independent exact configurations of the fine lattice. A program that is fitted at
# each field on its own takes them as one sweep, all posteriors at once; labels of members have to differ,
# so that data sets get fields apart by $10^{-9}$.


# %%
def sweep(x):
    """Data sets ``(set, frame, site)`` as members of one sweep in the same field."""
    about = {"beta": made.attrs["beta"]}
    labels = FIELD + 1e-9 * np.arange(len(x))
    return xr.Dataset(
        {"x": (("mu", "frame", "site"), x.astype(np.int8))}, {"mu": labels}, attrs=about
    )


made = workflow.make_reference("ising", [f"mu={FIELD}", f"frames={SETS * FRAMES}"], seed=7)
data = sweep(made["x"].values.reshape(SETS, FRAMES, -1))
model = cg.system("ising", data, ratio=RATIO, prior="normal", prior_scale=1.0)
print(f"{SETS} data sets of {FRAMES} frames; parameters: {', '.join(model.features)}, p0")

# %% [markdown]
# ## Inference
#
# NUTS on all of them, with latent configurations summed out exactly.

# %%
whole = cg.nuts(model, data, **NUTS).run(jax.random.key(0))

# %% [markdown]
# ## Diagnostics

# %%
posterior = cg.to_inference_data(whole)
rows = cg.results.summary(posterior)
print(
    f"largest R-hat of {len(rows)} quantities {rows['r_hat'].max():.3f}; median {rows['r_hat'].median():.3f}"
)
print(f"fewest effective draws {rows['ess_bulk'].min():.0f}")
print(
    f"divergent transitions {int(np.sum(cg.results.group(posterior, 'sample_stats')['diverging']))}"
)

# %%
az.summary(posterior, var_names=["p0"]).head()

# %% [markdown]
# ## Coverage: can the model be the data?
#
# `predict` from a posterior gives two intervals. The one *within the model* holds what the data leave open
# of the parameters. The other allows for the model's own error: the average over the fitted frames is
# unbiased, and how far it is from the prediction, beside what it could be off by chance, says how wrong the
# model may be.

# %%
predicted = cg.predict(whole, draws=DRAWS)
within = cg.results.group(predicted, "posterior_predictive")
allowed = cg.results.group(predicted, "discrepancy")

fig, ax = plt.subplots(figsize=(6, 3.8))
first = {"mu": FIELD}
cg.plot.band(
    predicted,
    "correlation",
    select=first,
    ax=ax,
    colour=cg.plot.COLOURS[2],
    label="within the model",
)
low, high = (
    allowed["correlation"].sel(first, method="nearest").quantile(ENDS, ("chain", "draw")).values
)
ax.fill_between(
    within["separation"],
    low,
    high,
    alpha=0.25,
    color=cg.plot.COLOURS[0],
    lw=0,
    label="model's error allowed for",
)
exact_r = np.ravel(made["correlation"].values)
ax.plot(made["separation"].values, exact_r, "k--", lw=1.2, label="exact")
ax.set_title(f"one data set of {FRAMES} frames, 5–95 %")
ax.legend()
plt.show()

# %% [markdown]
# Spins within a block are conditionally independent in the model, whatever its couplings. So nearest
# neighbours come out too weakly correlated, and the more frames there are the surer is the model of its
# wrong answer. Over all data sets:

# %%
x = data["x"].values.astype(float)
of_frames = np.stack([np.mean(x * np.roll(x, -k, -1), -1) for k in within["separation"].values], -1)


def bounds(name, values):
    """Both intervals of `predict`, and Student's of the frames' own average; ``(2, set, ...)``."""
    half = student.ppf(ENDS[1], FRAMES - 1) * values.std(1, ddof=1) / np.sqrt(FRAMES)
    mean = values.mean(1)
    return {
        "within the model": within[name].quantile(ENDS, ("chain", "draw")).values,
        "error allowed for": allowed[name].quantile(ENDS, ("chain", "draw")).values,
        "the data alone": np.stack([mean - half, mean + half]),
    }


exact_m = float(np.ravel(made["magnetization"].values)[0])
intervals = {
    "m": (bounds("magnetization", x.mean(-1)), exact_m),
    "R": (bounds("correlation", of_frames), exact_r),
}
holds = {
    (name, kind): ((b[0] <= exact) & (exact <= b[1])).mean(0)
    for name, (kinds, exact) in intervals.items()
    for kind, b in kinds.items()
}
width = {
    (name, kind): (b[1] - b[0]).mean()
    for name, (kinds, _) in intervals.items()
    for kind, b in kinds.items()
}
table = pd.DataFrame(
    {
        kind: {
            "magnetisation": holds["m", kind],
            **{f"R({k})": holds["R", kind][k - 1] for k in (1, 2, 4, 8, 16)},
            "mean over R(k)": holds["R", kind].mean(),
            "mean width, m": width["m", kind],
            "mean width, R": width["R", kind],
        }
        for kind in intervals["m"][0]
    }
)
print(f"standard error of a share of 0.9 of {SETS}: {np.sqrt(0.09 / SETS):.3f}")
table.astype(float).round(3).rename_axis(f"share that holds the exact value, {LEVEL:.0%} asked for")

# %%
fig, ax = plt.subplots(figsize=(6, 3.6))
for (kind, colour), style in zip(
    zip(intervals["R"][0], (cg.plot.COLOURS[2], cg.plot.COLOURS[0], "k"), strict=True),
    ("-", "-", ":"),
    strict=True,
):
    ax.plot(within["separation"], holds["R", kind], style, color=colour, label=kind)
ax.axhline(LEVEL, lw=0.6, color="k")
ax.set(
    xlabel="separation k / sites",
    ylabel="share that holds R(k)",
    ylim=(0, 1.03),
    title=f"coverage of {LEVEL:.0%} intervals over {SETS} data sets",
)
ax.legend()
plt.show()

# %% [markdown]
# The second interval is no magic. It is about as wide as that of the frames' own average, since it trusts
# the model only where data do not speak against it. What it gives is an interval of a prediction that may
# be believed.
#
# ### What the model does not reproduce
#
# Every fit says so by itself: the test compares prediction and average, all separations at once. The share
# of data sets for which it rejects a right model is 1 %.

# %%
misfit = allowed["correlation_misfit"].values
z = allowed["correlation_z"].isel(separation=0).values
print(
    f"the correlation is reported as not reproduced in {np.mean(misfit < 0.01):.0%} of the data sets"
)
print(f"R(1) is {np.median(z):.1f} standard errors above the prediction (median)")
found = cg.results.told(cg.results.attrs(predicted), "predict_messages")
print(*found[:1], sep="\n")

# %% [markdown]
# ## Ranks: is it the posterior at all?
#
# Now the other question. Parameters are drawn from the prior and data from the model, so that the model is
# right by construction. Over many such pairs the rank of the true parameter among the posterior's draws is
# uniform if, and nearly only if, the draws are of the posterior (simulation-based calibration; Talts et
# al., arXiv:1804.06788). The program itself makes the pairs.


# %%
@jax.jit
def pair(key):
    """Parameters from the prior, and a data set of the model at them."""
    sites = trace(seed(model.program, key)).get_trace(mu=jnp.asarray(FIELD), frames=FRAMES)
    return {name: sites[name]["value"] for name in ("theta_c", "p0", "x")}


pairs = [pair(key) for key in jax.random.split(jax.random.key(8), SETS)]
truth = np.array([np.append(p["theta_c"], p["p0"]) for p in pairs])
simulated = sweep(np.stack([np.asarray(p["x"]) for p in pairs]))
calibrated = {"MC-EM and Laplace": cg.mcem(model, simulated, **MCEM).run(jax.random.key(10))}
if not SMALL:
    calibrated["NUTS"] = cg.nuts(model, simulated, **NUTS).run(jax.random.key(9))


# %%
def draws_of(fit):
    """Posterior draws ``(set, draw, parameter)``."""
    group = cg.results.group(cg.to_inference_data(fit), "posterior")
    flat = group[["theta_c", "p0"]].stack(sample=("chain", "draw"))
    theta = flat["theta_c"].transpose("mu", "sample", ...).values
    return np.concatenate([theta, flat["p0"].transpose("mu", "sample").values[..., None]], -1)


BINS = 4 if SMALL else 8
names = [*model.features, "p0"]
rows = {}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
for ax, (name, fit) in zip(axes, calibrated.items(), strict=False):
    draws = draws_of(fit)
    rank = (draws < truth[:, None]).mean(1)
    counts = np.stack([np.histogram(rank[:, j], BINS, (0, 1))[0] for j in range(len(names))])
    p = chi2.sf(((counts - SETS / BINS) ** 2 / (SETS / BINS)).sum(1), BINS - 1)
    low, high = np.quantile(draws, ENDS, axis=1)
    inside = ((low <= truth) & (truth <= high)).mean(0)
    rows[name] = {
        "smallest p of uniform ranks, times the parameters": min(1.0, len(names) * p.min()),
        "90 % intervals hold: least": inside.min(),
        "90 % intervals hold: most": inside.max(),
        "90 % intervals hold: mean": inside.mean(),
    }
    ax.bar(
        np.arange(BINS) + 0.5, counts.sum(0) / counts.sum() * BINS, 0.9, color=cg.plot.COLOURS[0]
    )
    ax.axhline(1, color="k", lw=0.8)
    ax.set(xlabel="rank of the truth, in bins", title=f"{name}: all parameters")
axes[0].set_ylabel("frequency / uniform")
fig.tight_layout()
pd.DataFrame(rows).round(3)

# %% [markdown]
# Towers at both ends mean that the truth is too often outside of all draws: intervals are too narrow. The
# bars pool all parameters, which are correlated, so that the p-value comes from single parameters and is
# corrected for their number.
#
# ## k-hat: what a Laplace fit says of itself
#
# The draws around the mode carry weights, exact density over normal density. Their Pareto k-hat tells
# whether a few draws outweigh all others. Above 0.7 the draws are not the posterior, and the fit says so.
# Below, they may still not be: weights cannot reach what the draws never do.

# %%
khat = calibrated["MC-EM and Laplace"].groups["map"]["khat"].values
fig, ax = plt.subplots(figsize=(5.5, 3.0))
ax.hist(khat[np.isfinite(khat)], 12, color=cg.plot.COLOURS[2])
ax.axvline(0.7, color="k", ls="--")
ax.set(
    xlabel="k-hat of a data set", ylabel="data sets", title="importance weights of Laplace draws"
)
plt.show()
print(f"k-hat above 0.7 in {np.mean(~(khat < 0.7)):.0%} of {SETS} data sets")

# %%
good = khat < 0.7
draws = draws_of(calibrated["MC-EM and Laplace"])
low, high = np.quantile(draws, ENDS, axis=1)
inside = (low <= truth) & (truth <= high)
for words, which in (("k-hat below 0.7", good), ("above", ~good)):
    if which.any():
        share, count = inside[which].mean(), which.sum()
        print(
            f"{words}: 90 % intervals of parameters hold the truth in {share:.0%} ({count} data sets)"
        )

# %% [markdown]
# ## What it means
#
# - Of an interval ask first whether the posterior is the posterior. R-hat and effective draws say it of
#   chains; k-hat says it of weighted draws, and only one way: a bad one condemns, a good one does not
#   acquit. Where NUTS can run it is the one to publish.
# - Then ask whether the model can be the data. The interval within the model cannot tell, and more frames
#   make it narrower around the same wrong value. The second interval, and the sentence on what is not
#   reproduced, come from the data.
# - For an observable that the data do not hold there is no second interval. Its interval is that of the
#   model, and its worth is the model's.
# - Shares of a few data sets are rough; the standard error is printed beside them. Only `docs/intervals.md`
#   has enough for single per cents.
