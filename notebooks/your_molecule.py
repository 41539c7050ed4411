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
# # Your own molecule: map, fit, check, export
#
# **Question.** You have a trajectory of atoms and want beads. How do you get from one to a potential that
# runs in your engine, what of the structure does it keep, and what does it lose? Liquid hexane with three
# beads a molecule goes all the way here. With your molecule the files change, and with them the names of beads, bonds
# and angles in the cells that draw.
#
# The trajectory is real: five frames of all-atom molecular dynamics of 64 molecules, as GROMACS writes
# them, are shipped. Five frames show the mapping; the fits use 500 frames that the same map made of the
# same run.

# %%
import inspect
import os
from pathlib import Path
import tempfile

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from numpyro.handlers import seed, substitute, trace
import pandas as pd
import xarray as xr

jax.config.update("jax_enable_x64", True)

import bayescg as cg
from bayescg import workflow
from bayescg.predict import Production
from bayescg_models import molecular

SMALL = os.environ.get("BAYESCG_NOTEBOOK_SIZE") == "small"
FRAMES = 100 if SMALL else 500
MATCH = ["chains=8", "samples=15", "warmup=40", "max_iterations=2"] if SMALL else []
KNOTS = (
    ["knots=0.6", "bond_knots=4", "angle_knots=5"] if SMALL else []
)  # of splines; []: the model's own
DRAWS = 3 if SMALL else 50
PRODUCTION = Production(warmup=20, measurements=10, thin=2) if SMALL else Production()
ATOMS = Path("../data/hexane")
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## From atoms to beads
#
# The map file says which atoms make a bead, and which beads are bonded. It is all that is asked for.

# %%
print((ATOMS / "hexane.yaml").read_text())

# %%
mapped = workflow.map_trajectory(
    ATOMS / "hexane.trr", ATOMS / "hexane.gro", ATOMS / "hexane.yaml", folder / "hexane.nc"
)
print(f"{mapped.frames} frames of {mapped.sites} beads, forces: {mapped.forces}")
print("momenta:", mapped.consistency.text)
print(*mapped.notices, sep="\n")

# %% [markdown]
# The result is one file with positions and forces, types, masses and topology. It must be what the shipped
# file begins with.

# %%
five = cg.io.load(folder / "hexane.nc")
data = cg.io.load(ATOMS / "frames.nc").isel(frame=slice(FRAMES))
reference = xr.load_dataset(ATOMS / "long_run.nc")  # distributions, no frames
same = data["x"].isel(frame=slice(5)).values
box = data["box"].values
off = five["x"].values - same
off -= box * np.round(off / box)
print(f"largest difference from the shipped beads: {np.abs(off).max():.1e} Å")
five

# %% [markdown]
# ## Look at the beads before you fit
#
# A distribution with two peaks, or a bond and an angle that know of each other, is a warning: a sum of
# potentials of one coordinate each cannot have that. The mutual information of bond and angle says how much
# they know of each other.

# %%
joint = cg.observe(data, ["bond_AB", "angle_ABA", "joint_bond_AB_angle_ABA:length=0.04,width=4"])
fig, axes = plt.subplots(1, 3, figsize=(11, 3.2))
axes[0].plot(joint["length"], joint["bond_AB"], color=cg.plot.COLOURS[0])
axes[0].set(xlabel="bond A-B / Å", ylabel="density / Å⁻¹", title="bond")
axes[1].plot(joint["angle"], joint["angle_ABA"], color=cg.plot.COLOURS[0])
axes[1].set(xlabel="angle A-B-A / degrees", ylabel="density / degree⁻¹", title="angle")
both = joint["joint_bond_AB_angle_ABA"]
x_dim, y_dim = both.dims
p = both.values / both.values.sum()
apart = p.sum(1, keepdims=True) * p.sum(0)
known = np.sum(p[p > 0] * np.log(p[p > 0] / apart[p > 0]))
print(f"mutual information of bond and angle {known:.3f} nats (too large for few frames)")
axes[2].pcolormesh(joint[y_dim], joint[x_dim], both.values, cmap="Blues")
axes[2].set(
    xlabel="angle A-B-A / degrees", ylabel="bond A-B / Å", title="both: they know of each other"
)
fig.tight_layout()

# %% [markdown]
# ## The model
#
# `molecular` is the program for any such data. Data decide what there is: a potential for every pair of
# bead types and every name of a bonded term. All are one-dimensional and linear in the coefficients
# $\theta_c$ of their splines or tables.

# %%
print(inspect.getsource(molecular.program))

# %%
model = cg.system("molecular", data, **dict(word.split("=") for word in KNOTS))
size = len(model.features)
print(f"{size} coefficients, the first: {', '.join(model.features[:3])}")
x = jnp.asarray(data["x"].values[:1], float)
given = {"tau": jnp.ones(size), "theta_c": jnp.zeros(size), "sigma2": 0.01, "X": x}
ran = trace(substitute(seed(model.program, 0), given)).get_trace(x)
{
    name: (type(s["fn"]).__name__, np.shape(s["value"]))
    for name, s in ran.items()
    if s["type"] == "sample"
}

# %% [markdown]
# ## Two ways to fit it
#
# **Inverse Monte Carlo** matches distributions: it is this program with $X = x$, a flat prior and tables,
# and Newton's steps on all bins. Its targets are those of the whole run. It gives a point.

# %%
results = {}
results["imc"] = workflow.fit(
    "molecular", data, method="imc", method_options=[f"target={ATOMS / 'long_run.nc'}", *MATCH]
)
attrs = cg.results.attrs(results["imc"])
print(
    f"{attrs['ended']}; {attrs['wall_seconds']:.0f} s",
    *cg.results.told(attrs, "messages"),
    sep="\n",
)

# %%
search = cg.results.group(results["imc"], "em_trace")["distance"]
fig, ax = plt.subplots(figsize=(5.5, 3.0))
ax.semilogy(search.values.reshape(len(search), -1).max(1), "o-", color=cg.plot.COLOURS[0])
ax.axhline(1.5, color="k", lw=0.6)
ax.set(
    xlabel="iteration",
    ylabel="distance / standard errors",
    title="IMC: simulation less targets (line: where it stops)",
)
plt.show()

# %% [markdown]
# **Force matching** is linear least squares on the mapped forces, and has a posterior: how the estimate
# varies from block to block of frames. That is quick, and gives draws.

# %%
results["fm"] = workflow.fit("molecular", data, method="fm", options=KNOTS)
attrs = cg.results.attrs(results["fm"])
print(
    attrs["approximation"],
    f"{attrs['wall_seconds']:.0f} s",
    *cg.results.told(attrs, "messages"),
    sep="\n",
)

# %% [markdown]
# ## Diagnostics
#
# The draws of force matching come from a normal distribution in closed form. They are independent, and
# ArviZ has no chain to complain of. What can be wrong is the model, and forces will not say so.

# %%
az.summary(results["fm"], var_names=["theta_c"], kind="stats").head()

# %%
group = cg.results.group(results["fm"], "posterior")
curves = [str(n) for n in group.data_vars if "potential" in str(n)]
fig, axes = plt.subplots(1, len(curves), figsize=(3.0 * len(curves), 3.2))
for ax, name in zip(axes, curves, strict=True):
    for label, colour in (("fm", cg.plot.COLOURS[0]), ("imc", cg.plot.COLOURS[2])):
        u = cg.results.group(results[label], "posterior")[name]
        axis = next(d for d in u.dims if d not in ("chain", "draw"))
        low, middle, high = u.quantile([0.05, 0.5, 0.95], ("chain", "draw")).values
        shift = (
            np.nanmin(middle) if not name.startswith("pair") else 0.0
        )  # a constant means nothing
        ax.fill_between(u[axis], low - shift, high - shift, alpha=0.3, color=colour, lw=0)
        ax.plot(u[axis], middle - shift, color=colour, label=label)
    xlabel = {"p": "distance / Å", "b": "length / Å", "a": "angle / degrees"}[name[0]]
    ax.set(xlabel=xlabel, title=name.replace("_potential_", " "), ylim=(-1.5, 4))
    if name.startswith("angle"):
        ax.set_xlim(90, 180)
axes[0].set_ylabel("u / kcal/mol (band: 5–95 %)")
axes[0].legend()
fig.tight_layout()

# %% [markdown]
# ## Check: simulate it beside the reference

# %%
shown = ["rdf_A_A", "rdf_A_B", "rdf_B_B", "bond_AB", "angle_ABA"]
for name, result in results.items():
    held = cg.results.group(result, "posterior").sizes
    draws = min(DRAWS, held["chain"] * held["draw"])  # a point estimate is one
    results[name] = cg.predict(
        result, shown, draws=draws, reference=reference, production=PRODUCTION
    )
    print(name, *cg.results.told(cg.results.attrs(results[name]), "predict_messages"), sep="\n  ")

# %%
fig, axes = plt.subplots(2, 3, figsize=(11, 6.2))
for ax, name in zip(axes.ravel(), shown, strict=False):
    cg.plot.band(results["fm"], name, ax=ax, label="fm, 5–95 %", interval=(0.05, 0.95))
    cg.plot.band(
        results["imc"], name, ax=ax, colour=cg.plot.COLOURS[2], label="imc", reference=False
    )
    ax.set_title(name.replace("_", " "))
axes[0, 0].legend(fontsize=8)
axes[1, 2].axis("off")
fig.tight_layout()

# %%
compared = workflow.compare(results, reference)
table = pd.DataFrame(
    {
        row.label: {name: row.distances[name].rms for name in shown if name in row.distances}
        for row in compared.rows
    }
)
table["error of the reference"] = {
    name: d.reference_error for name, d in compared.rows[0].distances.items() if name in shown
}
table.round(4).rename_axis("rms difference (densities: of their maximum)")

# %% [markdown]
# Bands of force matching are narrow, and the reference is outside of them. They are the uncertainty of the
# parameters, given that forces between beads are sums over pairs, bonds and angles. They are not, and no
# band within the model tells.
#
# ## Export
#
# The potential goes into an engine as tables with topology, a start and a script. With draws there is one
# model for each: run them all, and what they disagree about is the uncertainty that the fit left in *your*
# observable.

# %%
written = workflow.export(results["fm"], "lammps", folder / "lammps", draws=3)
workflow.export(results["fm"], "openmm", folder / "openmm", draws=3)
print(written["folders"])
print(*sorted(p.name for p in (folder / "lammps" / "mean").iterdir()))
print((folder / "lammps" / "mean" / "in.lammps").read_text()[:600])

# %% [markdown]
# ### Read it back
#
# What an engine reads must have the energy that was fitted. The energy of the last frame, by the posterior
# mean of the coefficients, is compared with that of OpenMM, where it is installed (`pip install
# 'bayescg[engines]'`).

# %%
used = workflow.make_system("molecular", KNOTS, data, "fm")
mean = {"theta_c": jnp.asarray(group["theta_c"].mean(("chain", "draw")).values), "sigma2": 0.01}
last = jnp.asarray(data["x"].values[-1:], float)
site = trace(substitute(seed(used.program, 0), {**mean, "X": last})).get_trace(last)["X"]
ours = float(site["fn"].base_dist.potential(last[0]))
found = {"bayescg": ours}
try:
    import openmm
    from openmm import unit

    engine = openmm.XmlSerializer.deserialize((folder / "openmm/mean/system.xml").read_text())
    context = openmm.Context(
        engine, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(0.1 * np.asarray(last[0]))  # nm
    kilojoule = context.getState(getEnergy=True).getPotentialEnergy()
    found["OpenMM"] = kilojoule.value_in_unit(unit.kilocalorie_per_mole)
except ImportError:
    print("OpenMM is not installed: this check is left out.")
pd.DataFrame({"energy / kcal/mol": found}).assign(
    relative=lambda t: (t.iloc[:, 0] / ours - 1).map("{:.1e}".format)
)

# %% [markdown]
# ## What it means
#
# - What you match is what you get. IMC reproduces the distributions that it was given, and force matching
#   the forces. On hexane the latter misses the angles, to which distances between the same beads hang
#   (`docs/molecules.md`).
# - No sum of one-dimensional potentials has the bond and the angle that know of each other. `cg.observe`
#   shows it before a fit, `bayescg report` after it.
# - A posterior of potentials is for carrying on: export draws, run each, and look at the spread. It is the
#   spread *of the model*; the difference from the atoms, in the table above, is the other half of the
#   story.
# - For a posterior of the generative model itself use `method="mcem"` with fewer knots and frames;
#   `docs/molecules.md` says what it costs.
