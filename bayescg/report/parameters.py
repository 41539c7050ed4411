"""Figs. 15 and 16 of the PCG paper: coefficients of the correction, and the other parameters."""

from collections.abc import Sequence
import re
from typing import Any, NamedTuple

import numpy as np

from bayescg import results
from bayescg.plot import percent
from bayescg.report.case import ABSENT, SAMPLES, Case, number, printable
from bayescg.report.curves import ACTIVE
from bayescg.report.drawing import GREY, INK, Figure, canvas, decorate, svg
from bayescg.report.hover import follow
from bayescg.report.potentials import ENDS
from bayescg.report.traces import plain_logarithms

__all__ = ["Quantity", "physical", "relevant", "sizes", "spread", "switched_off"]

WAVE = re.compile(r"(sin|cos) ([0-9.]+)")
#: Smaller coefficients are drawn here, kcal/mol.
FLOOR = 1e-5
UNITS = {"angstrom": "Å", "angstrom^2": "Å²"}
#: The parameters of Fig. 16, in its order; any others follow.
FIRST = ("sigma", "epsilon", "sigma2")
MOST = 5  # of them are drawn
#: Parameters of a coarse-to-fine map with several values, and what each of those is called.
SEVERAL = {"axis": ("x", "y", "z"), "component": tuple(str(k) for k in range(1, 100))}
#: Fits in Fig. 15.
ROWS = 3


def sizes(case: Case) -> np.ndarray:
    """``|theta_c|`` at the MAP, or at a point estimate."""
    group = "map" if case.has("map", "theta_c") else "posterior"
    value = case.get(group, "theta_c")
    return np.abs(value.mean([d for d in SAMPLES if d in value.dims]).values)


def switched_off(case: Case) -> int:
    """Number of coefficients too small to count."""
    return int((sizes(case) < ACTIVE).sum())


def _axis(case: Case) -> tuple[dict[str, np.ndarray], np.ndarray, str]:
    """Which coefficients each column holds, where they stand, and what to call the axis."""
    names = [str(n) for n in case.get("posterior", "theta_c")["feature"].values]
    found = [WAVE.fullmatch(n) for n in names]
    if all(found):
        kind = np.array([f[1] for f in found if f])
        at = np.array([float(f[2]) for f in found if f])
        per = {"window": "periods per window", "angstrom": "1/Å"}
        unit = per.get(str(case.options.get("wave_numbers")), "")
        columns = {f"{k}es": np.flatnonzero(kind == k[:3]) for k in ("sin", "cosin")}
        return columns, at, f"wave-number ν / {unit}" if unit else "wave-number ν"
    everything = np.arange(len(names))
    return {"coefficients": everything}, everything.astype(float), "coefficient"


def relevant(cases: Sequence[Case]) -> Figure | None:
    """Fig. 15: sizes of the coefficients by wave-number, with ARD and without."""
    main = cases[0]
    if not main.has("posterior", "theta_c"):
        return None
    shown = [main]
    # REM has no prior either, but a fit by the same method shows what the prior does.
    for case in sorted(cases[1:], key=lambda c: (c.method != main.method, c.frames != main.frames)):
        same = case.has("posterior", "theta_c") and case.features == main.features
        known = [(c.method, c.prior) for c in shown]
        if same and case.prior != main.prior and (case.method, case.prior) not in known:
            shown.append(case)
    shown = shown[:ROWS]
    columns, at, axis = _axis(main)
    figure = canvas(7.5, 2.4 * len(shown) + 0.7)
    axes = figure.subplots(len(shown), len(columns), squeeze=False, sharex=True, sharey=True)
    table = [
        [
            "fit",
            "prior",
            "N",
            "switched off",
            *(f"of the {c}" for c in columns),
            "largest θ in size",
        ]
    ]
    table[0].append("largest wave-number left" if len(columns) > 1 else "last one left")
    for row, case in zip(axes, shown, strict=True):
        value, width = sizes(case), _widths(case)
        off = value < ACTIVE
        counts = []
        for ax, (name, those) in zip(row, columns.items(), strict=True):
            _stems(ax, at[those], value[those], off[those], case)
            follow(ax, "size at the MAP", at[those], value[those], colour=case.colour)
            if width is not None:
                style: dict[str, Any] = {"color": INK, "s": 26, "linewidths": 0.9, "marker": "_"}
                text = "width 1/√⟨τ⟩ of the ARD prior"
                ax.scatter(at[those], np.maximum(width[those], FLOOR), label=text, **style)
                follow(ax, text, at[those], width[those])
            ax.axhline(ACTIVE, color=GREY, linewidth=1, linestyle=":")
            ax.set_yscale("log")
            plain_logarithms(ax.yaxis)
            ax.set_title(f"{case.name}, prior {case.prior}: {name}", fontsize=9)
            counts.append(f"{int(off[those].sum())} of {len(those)}")
        row[0].set_ylabel("|θ| / kcal/mol")
        left = at[~off]
        last = number(float(left.max())) if left.size else "none"
        largest = number(float(value.max()))
        total = f"{switched_off(case)} of {len(value)}"
        table.append([case.label, case.prior, str(case.frames), total, *counts, largest, last])
    for ax in axes[-1]:
        ax.set_xlabel(axis)
    axes[0, 0].set_ylim(bottom=0.7 * FLOOR)
    decorate(figure, axes.ravel(), columns=2)
    alone = ""
    if len(shown) == 1:
        alone = (
            " Give a fit without ARD (-s prior=normal or flat) to see it beside, as in the paper."
            if "ARD" in main.prior
            else " Give a fit with ARD (-s prior=ard) to see it beside, as in the paper."
        )
    summary = f"Sizes of {len(at)} coefficients: " + "; ".join(
        f"{row[0]} ({row[1]}) has {row[3]} switched off" for row in table[1:]
    )
    waves = "wave-number of their function (Eqs. 66, 67)" if len(columns) > 1 else "number"
    return Figure(
        "fig15",
        "Coefficients of the correction (Fig. 15)",
        "Fig. 15 of the PCG paper remade: sizes of the coefficients θ of Eq. 65 at the MAP, by the "
        f"{waves}, on a logarithmic scale. A coefficient counts as "
        f"switched off, and is grey, below {ACTIVE:g} kcal/mol, the dotted line; those under "
        f"{FLOOR:g} stand there. Where the prior is ARD (Eqs. 41–44), a dash shows the width that it "
        f"leaves to each.{alone}",
        svg(figure, "fig15", summary),
        table,
    )


def _stems(ax: Any, at: np.ndarray, value: np.ndarray, off: np.ndarray, case: Case) -> None:
    shown = np.maximum(value, FLOOR)
    for which, colour, text in (
        (~off, case.colour, f"{case.name}: active"),
        (off, GREY, "switched off"),
    ):
        if which.any():
            ax.vlines(at[which], 0.5 * FLOOR, shown[which], color=colour, linewidth=1.4)
            ax.plot(at[which], shown[which], "o", color=colour, markersize=3, label=text)


def _widths(case: Case) -> np.ndarray | None:
    """Width that ARD leaves to each coefficient; None under another prior."""
    if "ARD" not in case.prior or not case.has("map", "tau_u"):
        return None
    tau = case.get("map", "tau_u")
    kept = [str(n).startswith("theta_c") for n in tau["parameter"].values]
    values = tau.values[kept]
    if values.shape != sizes(case).shape or not (values > 0).all():
        return None
    return np.asarray(1.0 / np.sqrt(values))


class Quantity(NamedTuple):
    """A parameter of one value a draw, or one value of one that has an axis."""

    name: str
    dim: str = ""  # the axis, one of ``SEVERAL``; empty: there is none
    at: int = 0  # on it

    @property
    def label(self) -> str:
        """What it is called, such as ``sigma2[x]``."""
        return f"{self.name}[{SEVERAL[self.dim][self.at]}]" if self.dim else self.name

    def among(self, case: Case, group: str) -> bool:
        """Whether a group holds it."""
        if not case.has(group, self.name):
            return False
        sizes = case.get(group, self.name).sizes
        if not self.dim:
            return not set(SEVERAL) & set(sizes)
        return bool(sizes.get(self.dim, 0) > self.at)

    def of(self, case: Case, group: str) -> Any:
        """Its values."""
        found = case.get(group, self.name)
        return found.isel({self.dim: self.at}) if self.dim else found


def physical(case: Case) -> list[Quantity]:
    """Parameters of one value a draw, such as sigma, epsilon and sigma2; those of a map value by value."""
    if not results.has_group(case.idata, "posterior"):
        return []
    found = []
    for name, value in results.group(case.idata, "posterior").data_vars.items():
        rest = [d for d in value.dims if d not in SAMPLES]
        if not set(SAMPLES) <= set(value.dims):
            continue
        if not rest:
            found.append(Quantity(str(name)))
        elif len(rest) == 1 and rest[0] in SEVERAL:
            dim = str(rest[0])
            found += [Quantity(str(name), dim, k) for k in range(value.sizes[dim])]
    first = [q for n in FIRST for q in found if q.name == n]
    return first + [q for q in found if q.name not in FIRST]


def _label(case: Case, quantity: Quantity) -> str:
    unit = str(case.get("posterior", quantity.name).attrs.get("units", "1"))
    unit = UNITS.get(unit, unit)
    name = quantity.label
    return printable(name if unit == "1" else f"{name} / {unit}", 30)


def spread(cases: Sequence[Case]) -> Figure | None:
    """Fig. 16: posteriors of the parameters, one by one and by pairs."""
    main = cases[0]
    everything = physical(main)
    names = everything[:MOST]
    if main.is_point or not names:
        return None
    draws = {n: n.of(main, "posterior").values.ravel() for n in names}
    many = len(names)
    figure = canvas(max(4.0, 2.5 * many), 2.2 * many + 0.4)
    axes = figure.subplots(many, many, squeeze=False, sharex="col")
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            ax = axes[i, j]
            if j > i:
                ax.set_visible(False)
                continue
            x = draws[column]
            mode = float(column.of(main, "map")) if column.among(main, "map") else None
            if i == j:
                style: dict[str, Any] = {"density": True, "color": main.colour}
                bins = int(np.clip(len(x) // 15, 6, 30))
                ax.hist(x, bins, histtype="stepfilled", alpha=0.3, **style)
                ax.hist(x, bins, histtype="step", label="posterior draws", **style)
                ax.set_yticks([])
                if mode is not None:
                    ax.axvline(mode, color=INK, linestyle=":", linewidth=1.2, label="MAP")
            else:
                ax.plot(x, draws[row], ".", color=main.colour, markersize=2.5, alpha=0.5)
                if mode is not None and row.among(main, "map"):
                    at = float(row.of(main, "map"))
                    ax.plot([mode], [at], "+", color=INK, markersize=9, markeredgewidth=1.3)
                ax.set_title(f"correlation {_correlation(x, draws[row])}", fontsize=9)
                if j:
                    ax.tick_params(labelleft=False)
            ax.locator_params(axis="x", nbins=4)
            if i == many - 1:
                ax.set_xlabel(_label(main, column))
            if j == 0 and i:
                ax.set_ylabel(_label(main, row))
    decorate(figure, [axes[0, 0]])
    table = [["parameter", "fit", "MAP", "posterior mean", "sd", f"{percent(ENDS)} interval"]]
    for name in everything:
        for case in cases:
            if name.among(case, "posterior"):
                table.append([_label(case, name), case.label, *_numbers(case, name)])
    summary = "Posteriors: " + "; ".join(
        f"{row[0]} mean {row[3]}, sd {row[4]}" for row in table[1:] if row[1] == main.label
    )
    return Figure(
        "fig16",
        f"Posterior of {', '.join(n.label for n in names[:-1])} and {names[-1].label} (Fig. 16)"
        if many > 1
        else f"Posterior of {names[0].label} (Fig. 16)",
        "Fig. 16 of the PCG paper remade: on the diagonal the posterior of each parameter, below it "
        "draws of each pair; dotted lines and crosses are the MAP. sigma and epsilon are those of "
        "Lennard-Jones (Eq. 68), sigma2 is the variance of the coarse-to-fine map (Eq. 61). Where "
        "the correction of Eq. 65 can stand in for Lennard-Jones, sigma and epsilon mean little by "
        "themselves.",
        svg(figure, "fig16", summary),
        table,
    )


def _correlation(x: np.ndarray, y: np.ndarray) -> str:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return "none"
    return f"{np.corrcoef(x, y)[0, 1]:.2f}".replace("-", "−")


def _numbers(case: Case, quantity: Quantity) -> list[str]:
    """MAP, mean, standard deviation and interval."""
    values = quantity.of(case, "posterior").values.ravel()
    mode = number(float(quantity.of(case, "map"))) if quantity.among(case, "map") else ABSENT
    if case.is_point:
        return [number(float(values[0])), ABSENT, ABSENT, ABSENT]
    low, high = np.quantile(values, ENDS)
    sd = number(float(values.std(ddof=1)))
    return [
        mode,
        number(float(values.mean())),
        sd,
        f"{number(float(low))} to {number(float(high))}",
    ]
