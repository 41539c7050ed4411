"""Makes the figures of a page again: from the results of ``bayescg demo ising``, and of the commands on the
page of water.

python docs/figures.py water study
python docs/figures.py ising demo/ising
"""

from pathlib import Path
import re
import sys

from bayescg import results
from bayescg.report.case import cases_of
from bayescg.report.drawing import Figure
from bayescg.report.write import figures_of
from bayescg.workflow.demo import files_of

HERE = Path(__file__).parent / "figures"
#: Figures of each page, and the results that they show; none named: all of the demo.
SHOWN: dict[str, dict[tuple[str, ...], tuple[str, ...]]] = {
    "water": {
        ("n10", "n20", "n100"): ("fig18", "fig19"),
        ("n20", "normal"): ("fig17", "fig15"),
    },
    "ising": {(): ("fig4", "fig5", "fig6", "fig7", "fig8", "fig9", "fig10", "fig11", "fig12")},
}
#: An image does not see the page's colours, only the reader's preference; with a background of its
#: own it stays readable where a page's switch says otherwise.
STYLE = (
    "svg{color:#1b1f24}.paper{fill:#fff}"
    "@media (prefers-color-scheme:dark){svg{color:#e6edf3}.paper{fill:#131416}}"
)


def standalone(figure: Figure) -> str:
    """A figure of the report as a file of its own."""
    head, body = str(figure.image).split(">", 1)
    view = re.search(r'viewBox="0 0 (\S+) (\S+)"', head)
    assert view is not None
    size = f'width="{view[1]}pt" height="{view[2]}pt"'
    head = re.sub(r' style="[^"]*"', "", head)
    head = head.replace("<svg", f'<svg xmlns="http://www.w3.org/2000/svg" {size}', 1)
    body = re.sub(r'(?<= d=")[^"]*', _rounded, body)
    paper = '<rect class="paper" width="100%" height="100%"/>'
    return f"{head}><style>{STYLE}</style>{paper}{body.strip()}\n"


def _rounded(path: re.Match[str]) -> str:
    """A hundredth of a point is not seen, and takes a third of the file."""
    shorter = re.sub(r"-?\d+\.\d+", lambda v: f"{float(v[0]):.2f}".rstrip("0").rstrip("."), path[0])
    return " ".join(shorter.split())


def main(page: str, folder: Path) -> None:
    HERE.mkdir(exist_ok=True)
    for names, idents in SHOWN[page].items():
        files = [folder / f"{name}.nc" for name in names]
        files = files or [path for path in files_of(page, folder) if path.suffix == ".nc"]
        if lost := [str(path) for path in files if not path.is_file()]:
            sys.exit(f"no {', '.join(lost)}; docs/{page}.md says which commands make it.")
        stems = [path.stem for path in files]
        figures, _ = figures_of(cases_of([results.load(path) for path in files], stems))
        made = {f.ident: f for f in figures}
        for ident in idents:
            path = HERE / f"{ident}.svg"
            path.write_text(standalone(made[ident]), encoding="utf-8")
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SHOWN:
        sys.exit(f"usage: python docs/figures.py {'|'.join(SHOWN)} FOLDER")
    main(sys.argv[1], Path(sys.argv[2]))
