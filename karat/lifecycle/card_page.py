"""The model card as one HTML page: its text, facts at its head, and the plots inside the file."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markdown_it import MarkdownIt

_TEMPLATE = Path(__file__).with_name("model_card.html.j2")
#: HTML in a description is shown as text.
_MARKDOWN = MarkdownIt("js-default", {"html": False, "linkify": False})


def card_page(card: str, plots: Sequence[Path]) -> str:
    """Render a model card as a page that needs no other file.

    Args:
        card: The card in Markdown.
        plots: PNG files; each gets a caption by its name.
    """
    head, *sections = re.split(r"^## ", card, flags=re.MULTILINE)
    title, _, about = head.removeprefix("# ").partition("\n")
    parts = [section.partition("\n") for section in sections]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_TEMPLATE.read_text()).render(
        title=title,
        about=_MARKDOWN.render(about),
        sections=[{"id": _anchor(name), "title": name, "text": _MARKDOWN.render(text)} for name, _, text in parts],
        plots=[
            {"name": plot.stem.replace("_", " "), "data": base64.b64encode(plot.read_bytes()).decode()}
            for plot in plots
            if plot.suffix == ".png"
        ],
    )


def _anchor(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower()).strip("-")
