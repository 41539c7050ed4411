"""What a page says, and what it would load or run."""

from html.parser import HTMLParser
import re

from bayescg.report.hover import script


class Words(HTMLParser):
    """Text outside styles and scripts, and what would be loaded or run beside the package's own script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.bad: list[str] = []
        self.idents: list[str] = []
        self.style = self.script = False
        self.ours = script().text
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.style = tag == "style" or tag == "script"
        self.script = tag == "script" and dict(attrs).get("type") != "application/json"
        self.bad += [tag] if tag in ("iframe", "object", "embed") else []
        for key, value in attrs:
            if key in ("src", "href") and re.match(r"(?:https?:)?//", value or ""):
                self.bad.append(f"{key}={value}")
            if key == "id" and value:
                self.idents.append(value)

    def handle_endtag(self, tag: str) -> None:
        self.style = self.script = False

    def handle_data(self, data: str) -> None:
        if self.script and data != self.ours:
            self.bad.append(f"script: {data[:40]}")
        if not self.style:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))
