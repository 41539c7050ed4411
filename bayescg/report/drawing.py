"""How figures are drawn and put into the page: inline SVG that follows the page's colours."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
import io
import re
from typing import Any
import warnings

from markupsafe import Markup, escape
import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from bayescg.report import hover

__all__ = ["GREY", "INK", "Drawing", "Figure", "canvas", "decorate", "drawing_style", "svg"]

#: Stands for the page's text colour until the SVG is written.
INK = "#010203"
#: Readable on white and on black.
GREY = "#8a8a8a"

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.facecolor": "none",
    "svg.fonttype": "path",  # text looks the same whichever fonts a reader has
    "svg.hashsalt": "bayescg",  # the same figure gives the same file
    "text.color": INK,
    "text.parse_math": False,  # labels come from files: a dollar sign is a dollar sign
    "xtick.color": INK,
    "xtick.labelsize": 9,
    "ytick.color": INK,
    "ytick.labelsize": 9,
}


class Drawing(Markup):
    """An SVG element, and the values of its curves as :func:`bayescg.report.hover.panels` gives them."""

    panels: Sequence[dict[str, Any]] = ()

    @property
    def values(self) -> Markup:
        """The values as the page's script reads them; empty where no curve is followed."""
        return hover.as_json(self.panels) if self.panels else Markup("")


@dataclass(frozen=True)
class Figure:
    """A figure as it stands in the report.

    :param ident: anchor in the page
    :param table: rows of text under the figure, the first of them the header
    """

    ident: str
    title: str
    caption: str
    image: Drawing
    table: list[list[str]] = field(default_factory=list)

    @property
    def short(self) -> str:
        """Its name in the list of contents."""
        paper = self.ident.removeprefix("fig")
        return f"Fig. {paper}" if re.fullmatch(r"\d+[a-z]?", paper) else self.title


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw in the report's style; characters that the font lacks become boxes, silently."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        yield


def canvas(width: float, height: float) -> Any:
    """An empty figure, in inches, known to no window system."""
    return Canvas(figsize=(width, height), layout="constrained")


def svg(figure: Any, ident: str, summary: str) -> Drawing:
    """The figure as an SVG element with an accessible name, no outside address, ids of its own.

    :param summary: what it shows, in words: its accessible name
    """
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    head, body = text.split(">", 1)
    view = re.search(r'viewBox="([^"]*)"', head)
    assert view is not None
    body = re.sub(r'\bid="', f'id="{ident}-', body)
    body = re.sub(r'(?:xlink:)?href="#', f'href="#{ident}-', body)
    body = body.replace("url(#", f"url(#{ident}-").replace(INK, "currentColor")
    width = float(view.group(1).split()[2]) / 72
    # Everything in it was drawn here; text is outlines, and comments are gone.
    drawing = Drawing(
        f'<svg viewBox="{view.group(1)}" role="img" aria-label="{escape(summary)}" '
        f'style="width: {width:.2f}in">{body}'
    )
    drawing.panels = hover.panels(figure)
    return drawing


def decorate(figure: Any, axes: Iterable[Any], *, columns: int = 2) -> None:
    """One legend above all panels, from the entries of ``axes``, each name once."""
    entries: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        where = "outside upper left"
        figure.legend(list(entries.values()), list(entries), loc=where, ncols=columns)
