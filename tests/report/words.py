"""What a page says, and what it would load or run."""

from html.parser import HTMLParser
import re


class Words(HTMLParser):
    """Text outside styles, and what would be loaded or run."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.bad: list[str] = []
        self.idents: list[str] = []
        self.style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.style = tag == "style"
        self.bad += [tag] if tag in ("script", "iframe", "object", "embed") else []
        for key, value in attrs:
            if key in ("src", "href") and re.match(r"(?:https?:)?//", value or ""):
                self.bad.append(f"{key}={value}")
            if key == "id" and value:
                self.idents.append(value)

    def handle_endtag(self, tag: str) -> None:
        self.style = False

    def handle_data(self, data: str) -> None:
        if not self.style:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))
