"""Makes the figures and tables of the page of intervals again, from the measurements in ``benchmarks/results``.

python docs/intervals_figures.py intervals benchmarks/results
"""

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
import sys
from typing import Any

from figures import HERE, standalone
import numpy as np

from bayescg.plot import COLOURS
from bayescg.report.drawing import INK, Figure, canvas, decorate, drawing_style, svg

#: The page and its figures.
SHOWN: dict[str, dict[tuple[str, ...], tuple[str, ...]]] = {
    "intervals": {
        ("coverage",): ("coverage",),
        ("ranks", "ranks-laplace"): ("ranks",),
        ("water-posterior",): ("water_posterior",),
    }
}
KINDS = {
    "within": ("within the model", COLOURS[2], "-"),
    "allowed": ("model's error allowed for", COLOURS[0], "-"),
    "data": ("data alone", INK, ":"),
}
BINS = 16


def measured(page: str, folder: Path, name: str) -> dict[str, Any]:
    """What a benchmark printed."""
    path = folder / f"{name}.json"
    if not path.is_file():
        sys.exit(f"no {path}; docs/{page}.md says which commands make it.")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))[name]
    return found


def studies(found: Mapping[str, Any]) -> list[str]:
    return [k for k in found if k != "device"]


def coverage(found: Mapping[str, Any], level: str = "0.9") -> Figure:
    """Coverage of R(k) against k, a row a model, a column a field."""
    names = studies(found)
    fields = [k for k in found[names[0]] if k.startswith("mu=")]
    figure = canvas(8, 1.9 * len(names) + 0.6)
    axes = figure.subplots(len(names), len(fields), squeeze=False, sharex=True, sharey=True)
    for row, name in zip(axes, names, strict=True):
        for ax, field in zip(row, fields, strict=True):
            for kind, (text, colour, line) in KINDS.items():
                share = np.array(found[name][field][kind][level]["R"])
                at = np.arange(1, len(share) + 1)
                ax.plot(at, 100.0 * share, color=colour, linestyle=line, label=text)
            ax.axhline(100.0 * float(level), color=INK, linewidth=0.6)
            ax.set_ylim(0, 100)
            ax.set_title(f"{name}, {field.replace('mu=', 'μ = ')}", fontsize=8)
    for ax in axes[-1]:
        ax.set_xlabel("separation k")
    for ax in axes[:, 0]:
        ax.set_ylabel("held, %")
    decorate(figure, [axes[0, 0]], columns=3)
    summary = (
        "Share of data sets whose 90 % interval holds R(k), against k, for three kinds of interval."
    )
    return Figure("coverage", "Coverage", "", svg(figure, "coverage", summary))


def ranks(nuts: Mapping[str, Any], laplace: Mapping[str, Any]) -> Figure:
    """Histograms of the ranks of p0 and of the worst coefficient."""
    name = studies(nuts)[0]
    rows: Sequence[tuple[str, Mapping[str, Any]]] = (
        ("NUTS", nuts[name]),
        ("Laplace, complete", laplace[name]["complete"]),
        ("Laplace, observed", laplace[name]["observed"]),
        ("Laplace, weighted", laplace[name]["weighted"]),
    )
    figure = canvas(8, 3.6)
    axes = figure.subplots(2, len(rows), sharex=True, squeeze=False)
    for column, (text, found) in enumerate(rows):
        worst = min((k for k in found["p"] if k != "p0"), key=lambda k: found["p"][k])
        for ax, which in zip(axes[:, column], ("p0", worst), strict=True):
            histogram = np.array(found["histogram"][which])
            expected = histogram.sum() / BINS
            ax.bar(np.arange(BINS) + 0.5, histogram, 1.0, color=COLOURS[0], alpha=0.6)
            ax.axhline(expected, color=INK, linewidth=0.8)
            # 99 % of a single bin's counts.
            low, high = (expected + s * 2.58 * np.sqrt(expected) for s in (-1.0, 1.0))
            ax.axhspan(max(low, 0.0), high, color=INK, alpha=0.08, linewidth=0)
            ax.set_title(f"{text}: {which}", fontsize=8)
            ax.set_xticks([])
    summary = (
        "Rank histograms of p0 and of the worst coefficient for NUTS and three forms of Laplace."
    )
    return Figure("ranks", "Ranks", "", svg(figure, "ranks", summary))


def bands(found: Mapping[str, Any]) -> Figure:
    """The pair potential of water by NUTS and by Laplace's approximation, and how wide both bands are."""
    r = np.array(found["r"])
    figure = canvas(8, 3.2)
    whole, widths = figure.subplots(1, 2)
    for how, text, colour in (
        ("laplace", "Laplace", COLOURS[1]),
        ("nuts", "NUTS", COLOURS[0]),
    ):
        low, middle, high = np.array(found[how])
        whole.fill_between(r, low, high, color=colour, alpha=0.3, linewidth=0)
        whole.plot(r, middle, color=colour, label=text)
        widths.plot(r, high - low, color=colour, label=text)
    whole.set_xlim(2.4, 7.0)
    whole.set_ylim(np.array(found["nuts"])[0][r >= 2.5].min() - 0.5, 2.0)
    whole.set_ylabel("u(r), kcal/mol")
    widths.set_xlim(2.4, 7.0)
    widths.set_yscale("log")
    widths.set_ylim(0.03, 10.0)
    widths.yaxis.set_major_formatter("{x:g}")
    widths.yaxis.set_minor_formatter("")
    widths.set_ylabel("width of 10-90 %, kcal/mol")
    for ax in (whole, widths):
        ax.set_xlabel("r, Å")
    decorate(figure, [whole], columns=2)
    summary = (
        "The pair potential of water with its 10-90 % bands by NUTS and Laplace, and their widths."
    )
    return Figure("water_posterior", "Bands", "", svg(figure, "water_posterior", summary))


def table(found: Mapping[str, Any]) -> str:
    """Coverage of 90 % intervals, in %, and widths relative to the data's own, for the page."""
    lines = [
        "| model | mu | within: m | R(1) | R(1..16) | allowed for: m | R(1) | R(1..16) | width: m | R |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in studies(found):
        for field in (k for k in found[name] if k.startswith("mu=")):
            here = found[name][field]
            cells = [name, field[3:]]
            for kind in ("within", "allowed"):
                row = here[kind]["0.9"]
                cells += [f"{100 * row['m']:.0f}", f"{100 * row['R'][0]:.0f}", _range(row["R"])]
            own, data = here["allowed"]["0.9"], here["data"]["0.9"]
            cells.append(f"{own['width_m'] / data['width_m']:.2f}")
            cells.append(f"{np.mean(own['width_R']) / np.mean(data['width_R']):.2f}")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def levels(found: Mapping[str, Any]) -> str:
    """Least and most of all observables, models and fields, at each level."""
    lines = ["| interval | 50 % | 80 % | 90 % | 95 % |", "|---|---|---|---|---|"]
    for kind, (text, _, _) in KINDS.items():
        cells = []
        for level in ("0.5", "0.8", "0.9", "0.95"):
            shares = [
                v
                for name in studies(found)
                for field, here in found[name].items()
                if field.startswith("mu=")
                for v in (here[kind][level]["m"], *here[kind][level]["R"])
            ]
            cells.append(_range(shares))
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _range(shares: Sequence[float]) -> str:
    return f"{100 * min(shares):.0f} to {100 * max(shares):.0f}"


def main(page: str, folder: Path) -> None:
    found = {n: measured(page, folder, n) for names in SHOWN[page] for n in names}
    with drawing_style():
        made = (
            coverage(found["coverage"]),
            ranks(found["ranks"], found["ranks-laplace"]),
            bands(found["water-posterior"]),
        )
        for figure in made:
            path = HERE / f"{figure.ident}.svg"
            path.write_text(standalone(figure), encoding="utf-8")
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    print(table(found["coverage"]), levels(found["coverage"]), sep="\n\n")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SHOWN:
        sys.exit(f"usage: python docs/intervals_figures.py {'|'.join(SHOWN)} FOLDER")
    main(sys.argv[1], Path(sys.argv[2]))
