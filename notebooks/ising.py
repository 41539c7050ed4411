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
# # The Ising lattice: data, posterior, prediction
#
# Sixty-four spins on a ring, coarse-grained eight to one, at two external fields. Open this file as a
# notebook with jupytext; it takes about two minutes.

# %%
import jax

jax.config.update("jax_enable_x64", True)

import bayescg as cg

# %% [markdown]
# ## Data
#
# Independent exact samples of the fine lattice, with the exact magnetisation to compare with.

# %%
data = cg.io.load("../data/ising/sweep.nc").sel(mu=[0.2, 1.0], method="nearest")
data

# %% [markdown]
# ## The model
#
# One NumPyro program. Here at ratio 8, with a normal prior, and 20 of the 100 frames of each field.

# %%
ising = cg.system("ising", data, ratio=8, prior="normal", prior_scale=1.0, frames=20)
len(ising.features)

# %% [markdown]
# ## MC-EM, then Laplace draws with importance weights
#
# The stopping rule is in posterior standard deviations; `khat` tells how far to trust the weights.

# %%
fit = cg.mcem(ising, data).run(jax.random.key(0))
print(fit.approximation, fit.converged, *fit.messages, sep="\n")

# %% [markdown]
# ## The full posterior by NUTS
#
# At this ratio log Z and the sum over latent configurations are exact, so NumPyro's NUTS samples the
# same program with both summed out.

# %%
whole = cg.nuts(ising, data, samples=500).run(jax.random.key(1))
print(whole.approximation, whole.converged, *whole.messages, sep="\n")

# %% [markdown]
# ## Prediction
#
# The magnetisation of every posterior draw, and what is exact.

# %%
for name, each in (("Laplace", fit), ("NUTS", whole)):
    idata = cg.predict(each, reference=data)
    draws = idata.posterior_predictive["magnetization"]
    low, high = (draws.quantile(q, ("chain", "draw")).values for q in (0.05, 0.95))
    print(name, "90 % interval", low.round(3), high.round(3))
print("exact", idata.reference["magnetization"].values.round(3))

# %% [markdown]
# ## A limiting case
#
# Relative-entropy minimisation is the same program conditioned on X = R(x), the majority map, under a
# flat prior.

# %%
rem = cg.limits.rem(ising, data).run(jax.random.key(2))
print(rem.approximation, *rem.messages, sep="\n")
