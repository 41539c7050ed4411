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
# # Virtual sites and sloppiness: what the data do not tell
#
# **Question.** A coarse model may have sites that the data lack. Here two bonded sites X are seen, and a
# third, Y, sits between them in the model only. Three harmonic bonds have four parameters; what is observed
# is one distance. Which combinations of the four do the data decide, which do they leave open, and which
# method says so honestly?
#
# The system is that of Section IV.B of the adversarial-residual coarse-graining (ARCG) paper of Durumeric
# and Voth. One site can be summed out by quadrature, so that likelihood, Fisher information and posterior
# are all exact here.

# %%
from dataclasses import replace
import os

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.handlers import seed, trace
import pandas as pd

jax.config.update("jax_enable_x64", True)

import bayescg as cg
from bayescg import workflow
from bayescg.distributions import Boltzmann, Bridge
from bayescg.potentials import Harmonic, HarmonicTerm, Interaction, MolecularPotential, classes_of
from bayescg.topology import Bonded, Topology
from bayescg.units import beta_of

SMALL = os.environ.get("BAYESCG_NOTEBOOK_SIZE") == "small"
FRAMES = 300 if SMALL else 2000
NUTS = (
    {"warmup": 80, "samples": 80, "chains": 2, "max_tree_depth": 5}
    if SMALL
    else {"warmup": 1000, "samples": 1500}
)
MCEM = (
    {
        "free_chains": 64,
        "max_sweeps": 16,
        "information": 16,
        "max_iterations": 6,
        "draws": 100,
        "weights": False,
    }
    if SMALL
    else {}  # the system's own
)

# %% [markdown]
# ## Data
#
# Independent exact samples of the two X of a triangle X-Y-X whose parameters are known (system B of Table I
# of the paper). The positions hold nothing but their distance: the molecule lies anywhere and points
# anywhere.

# %%
data = workflow.make_reference("virtual_bond", [f"frames={FRAMES}"], seed=0)
NAMES = ("x_XY", "k_XY", "x_XX", "k_XX")
TRUTH = np.array([data.attrs[name] for name in NAMES])
BOX, TEMPERATURE = data["box"].values, data.attrs["temperature"]
between = data["x"].isel(site=1) - data["x"].isel(site=0)
between = between - data["box"] * np.round(between / data["box"])
r = np.sqrt((between**2).sum("axis")).values
print(f"{FRAMES} distances, mean {r.mean():.3f} Å, standard deviation {r.std():.3f} Å")

# %% [markdown]
# ## The model
#
# $$
# U(X_1, Y, X_2) = \tfrac{k_{XY}}{2}\bigl[(|Y-X_1|-x_{XY})^2 + (|Y-X_2|-x_{XY})^2\bigr]
#                + \tfrac{k_{XX}}{2}(|X_1-X_2|-x_{XX})^2 .
# $$
#
# The program draws all three sites and lets the data see two of them. Nothing in it says how Y is dealt
# with: MC-EM samples it, NUTS has it summed out by `Bridge`, which knows the integral over one site between
# two others.

# %%
PRIOR = {
    "x_XY": (2.0, 0.5),
    "k_XY": (1.0, 1.0),
    "x_XX": (2.0, 0.5),
    "k_XX": (1.0, 1.0),
}  # median, sd of the log
BETA = beta_of(TEMPERATURE)  # mol/kcal
ends_of = np.array([(0, 1), (1, 2), (0, 2)])
topology = Topology(
    ("X", "Y", "X"),
    np.full(3, 12.0),
    np.zeros(3, int),
    bond=Bonded(ends_of, ("X_Y", "X_Y", "X_X")),
    exclusion=ends_of,
)
classes = classes_of(topology, [])
exact = Bridge("X_X", "X_Y", longest=14.0)  # of bonds, angstrom


def triangle(x_XY, k_XY, x_XX, k_XX):
    """Three harmonic bonds: lengths in angstrom, stiffnesses in kcal/mol/angstrom^2."""
    arms = HarmonicTerm(x_XY, k_XY, Harmonic(2.0), 0.5)
    ends = HarmonicTerm(x_XX, k_XX, Harmonic(2.0), 0.5)
    bonds = (Interaction((arms,), "bond", "X_Y"), Interaction((ends,), "bond", "X_X"))
    return MolecularPotential(bonds, classes, tuple(map(float, BOX)))


def program(x=None, *, frames=1):
    """p(theta) p_c(X, Y, X | theta), of which the data hold the two X."""
    values = [
        numpyro.sample(name, dist.LogNormal(np.log(PRIOR[name][0]), PRIOR[name][1]))
        for name in NAMES
    ]
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            triangle(*values),
            BETA,
            log_partition=exact,
            event_shape=(3, 3),
            support=numpyro.distributions.constraints.real,
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", dist.Delta(X[..., (0, 2), :], event_dim=2), obs=x)  # Y is in no data


ran = trace(seed(program, 0)).get_trace(frames=2)
{
    name: (type(s["fn"]).__name__, np.shape(s["value"]))
    for name, s in ran.items()
    if s["type"] == "sample"
}

# %%
# The record has all that is not the program: samplers, observables, where a fit starts.
bond = replace(cg.system("virtual_bond", data, start="middle"), program=program)

# %% [markdown]
# ## What the data can tell, before any fit
#
# The density $p(r \mid \theta)$ of the distance is known by quadrature, and so is the Fisher information of
# one frame,
#
# $$
# I_{ab} = \int p(r)\, \frac{\partial \log p}{\partial \log\theta_a}\,
#          \frac{\partial \log p}{\partial \log\theta_b}\,\mathrm dr .
# $$
#
# Logarithms are taken so that lengths and stiffnesses can be compared: a change of 0.01 is one per cent.
# The inverse root of an eigenvalue of $N I$ is how well $N$ frames know its direction.


# %%
def log_density(u):
    """log p(r) at the points of the quadrature, of parameters with logarithms u."""
    return jnp.log(exact.density(triangle(*jnp.exp(u)), jnp.asarray(BETA)) + 1e-300)


def information(u):
    """Fisher information of one frame in log parameters."""
    p = jnp.exp(log_density(u))
    score = jax.jacfwd(log_density)(u)
    inside = p > 1e-12
    step = exact.points[1] - exact.points[0]
    return jnp.einsum("r,ra,rb->ab", jnp.where(inside, p, 0.0), score, score) * step


u_true = jnp.log(TRUTH)
fisher = np.asarray(jax.jit(information)(u_true))
values, vectors = np.linalg.eigh(fisher)
values, vectors = values[::-1], vectors[:, ::-1]
vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), range(4)])
sloppy = pd.DataFrame(
    vectors.T,
    columns=[f"log {name}" for name in NAMES],
    index=[f"direction {i + 1}" for i in range(4)],
)
sloppy.insert(0, "eigenvalue, a frame", values)
sloppy.insert(1, f"known to, {FRAMES} frames", 1 / np.sqrt(FRAMES * values))
sloppy.insert(2, "frames for 1 %", np.ceil(1e4 / values))
sloppy.round(4)

# %%
print(f"the largest eigenvalue is {values[0] / values[-1]:.0f} times the smallest")
fig, ax = plt.subplots(figsize=(5.5, 3.2))
ax.semilogy(range(1, 5), values, "o", color=cg.plot.COLOURS[0], label="data, one frame")
ax.axhline(
    1 / (FRAMES * max(s for _, s in PRIOR.values()) ** 2),
    ls=":",
    color="k",
    label=f"prior precision / {FRAMES} frames",
)
ax.set(
    xticks=range(1, 5),
    xlabel="direction in log parameters",
    ylabel="Fisher information",
    title="stiff and sloppy directions",
)
ax.legend()
plt.show()

# %% [markdown]
# The first rows of the table are what a distribution of distances is: where it is, how wide, how skewed.
# The last is a combination that trades one bond for the others and hardly changes $p(r)$. Where its
# information from all frames falls below the dotted line, the prior decides it. To see it directly, go
# along the sloppiest direction by 0.5 of its logarithm, a factor of 1.65, either way, and along the stiffest by
# as much.

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
for ax, i, name in zip(axes, (0, 3), ("stiffest", "sloppiest"), strict=True):
    for step, style in ((-0.5, "--"), (0.0, "-"), (0.5, ":")):
        p = np.exp(log_density(u_true + step * vectors[:, i]))
        ax.plot(exact.points, p, style, color=cg.plot.COLOURS[0], label=f"{step:+.1f}")
    ax.set(xlim=(0, 7), xlabel="distance X-X / Å", title=f"p(r) along the {name} direction")
axes[0].set_ylabel("p(r) / Å⁻¹")
axes[1].legend(title="log parameters")
fig.tight_layout()

# %% [markdown]
# ## The whole posterior by NUTS
#
# Its chains move in the four parameters; the virtual site is integrated at each step. A ridge is long and
# bent, so that the mass matrix is dense and steps are short.

# %%
whole = cg.nuts(bond, data, **NUTS).run(jax.random.key(1))
print(whole.approximation, f"converged: {whole.converged}", *whole.messages, sep="\n")

# %% [markdown]
# ## MC-EM and Laplace
#
# The same program where the integral is not known: the E-step samples Y given the two X, chains of the
# whole triangle give the other half of the gradient. A normal distribution in log parameters stands around
# the mode.

# %%
fit = cg.mcem(bond, data, **MCEM).run(jax.random.key(0))
print(fit.approximation, f"converged: {fit.converged}", *fit.messages, sep="\n")

# %% [markdown]
# ## Diagnostics

# %%
results = {"NUTS": cg.to_inference_data(whole), "MC-EM and Laplace": cg.to_inference_data(fit)}
az.summary(results["NUTS"], var_names=list(NAMES))

# %%
az.plot_trace(results["NUTS"], var_names=["k_XY", "k_XX"])
plt.show()

# %% [markdown]
# ## Parameters one by one, and together
#
# Intervals of single parameters are wide, and look as if little had been learned. The scatter shows why:
# parameters are traded for each other along the sloppy direction.

# %%
draws = {
    name: np.stack([cg.results.group(result, "posterior")[n].values.ravel() for n in NAMES], -1)
    for name, result in results.items()
}
fig, axes = plt.subplots(1, 3, figsize=(11, 3.4))
for ax, (a, b) in zip(axes, ((0, 1), (2, 3), (1, 3)), strict=True):
    for (name, each), colour in zip(
        draws.items(), (cg.plot.COLOURS[0], cg.plot.COLOURS[2]), strict=True
    ):
        ax.plot(each[:, a], each[:, b], ".", ms=2, alpha=0.4, color=colour, label=name)
    ax.plot(TRUTH[a], TRUTH[b], "k+", ms=14, mew=2, label="truth")
    unit = {"x": "Å", "k": "kcal/mol/Å²"}
    ax.set(xlabel=f"{NAMES[a]} / {unit[NAMES[a][0]]}", ylabel=f"{NAMES[b]} / {unit[NAMES[b][0]]}")
axes[0].legend(fontsize=8)
fig.suptitle("posterior draws")
fig.tight_layout()

# %% [markdown]
# The spread of the draws along the four directions of the Fisher information, beside what that information
# and the prior together expect, $(N I + \Lambda)^{-1}$. Where NUTS is wider the posterior is no normal
# distribution: the information at the truth is that of one point, and the ridge bends.

# %%
prior_precision = np.diag([1 / PRIOR[name][1] ** 2 for name in NAMES])
expected = np.linalg.inv(FRAMES * fisher + prior_precision)
spread = {"prior": np.sqrt(np.diag(vectors.T @ np.linalg.inv(prior_precision) @ vectors))}
spread["Fisher and prior"] = np.sqrt(np.diag(vectors.T @ expected @ vectors))
for name, each in draws.items():
    spread[name] = (np.log(each) @ vectors).std(0, ddof=1)
pd.DataFrame(spread, index=sloppy.index).round(3).rename_axis("sd in log parameters")

# %%
rows = {}
for name, each in draws.items():
    low, middle, high = np.quantile(each, [0.05, 0.5, 0.95], axis=0)
    rows[name] = [
        f"{m:.2f} ({a:.2f} to {b:.2f})" for m, a, b in zip(middle, low, high, strict=True)
    ]
rows["truth"] = [f"{t:.2f}" for t in TRUTH]
pd.DataFrame(rows, index=NAMES).rename_axis("median (5-95 %)")

# %% [markdown]
# ## Prediction
#
# The density of the distance, with its band, is what the parameters were fitted for. Every draw carries it
# (`bond_density_X_X`).

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4))
truth = np.exp(log_density(u_true))
for (name, result), colour in zip(
    results.items(), (cg.plot.COLOURS[0], cg.plot.COLOURS[2]), strict=True
):
    p = cg.results.group(result, "posterior")["bond_density_X_X"]
    at = p["quadrature_length"].values
    low, high = p.quantile([0.05, 0.95], ("chain", "draw")).values
    same = np.interp(at, exact.points, truth)
    axes[0].fill_between(at, low, high, alpha=0.4, color=colour, lw=0, label=f"{name}, 5–95 %")
    axes[1].fill_between(at, low - same, high - same, alpha=0.4, color=colour, lw=0)
    per_draw = p.stack(sample=("chain", "draw")).transpose("sample", ...).values
    step = at[1] - at[0]
    off = np.sum(same * np.log((same + 1e-12) / (per_draw.mean(0) + 1e-12))) * step
    print(f"{name}: relative entropy of the truth from the mean predicted density {off:.1e} nats")
axes[0].hist(r, 40, density=True, histtype="step", color="k", label="data")
axes[0].set(
    xlim=(0, 7), xlabel="distance X-X / Å", ylabel="p(r) / Å⁻¹", title="distance of the two X"
)
axes[0].legend(fontsize=8)
axes[1].axhline(0, color="k", lw=0.8)
axes[1].set(
    xlim=(0, 7),
    xlabel="distance X-X / Å",
    ylabel="difference / Å⁻¹",
    title="band less the exact density",
)
fig.tight_layout()

# %% [markdown]
# ## What it means
#
# - A prediction can be known well while its parameters are not. That is sloppiness: what is predicted
#   depends on the stiff directions, and the data know those.
# - What the data do not tell does matter as soon as another question is asked of the model. Where Y is, how
#   stiff its bonds are, or what happens at another temperature depends on the sloppy direction, for which
#   the prior speaks. A point estimate, by any method, has some value there, and no sign that it means
#   nothing.
# - More data help slowly: the table above has the number of frames for one per cent along each direction.
# - Where the integral over the virtual site is known, NUTS is to be preferred: a normal distribution around
#   the mode has the ridge straight. Where it is not, as in a fluid of virtual particles, MC-EM still finds
#   the mode, and its errors along the ridge are rough. `docs/arcg.md` follows that through for a binary
#   fluid, where ARCG, which sees a critic only, is compared with both.
