"""Rendering of templates: strict Jinja, and Python calls in the formatter's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import yaml

_FOLDER = Path(__file__).with_name("templates")
WIDTH = 120


def render(template: str, **values: Any) -> str:
    """The text of ``templates/TEMPLATE.j2``; a name that is not given is an error."""
    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    engine.filters |= {"literal": literal, "yaml": as_yaml}
    return engine.get_template(f"{template}.j2").render(**values)


def literal(value: str) -> str:
    """A text as Python writes it, in double quotes where it holds none."""
    return repr(value) if '"' in value else json.dumps(value, ensure_ascii=False)


def as_yaml(value: Any) -> str:
    """A value as YAML within a line."""
    dumped = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return dumped.removesuffix("...\n").strip()


def call(function: str, *arguments: str, indent: int) -> str:
    """``function(arguments),`` as an element of a list that is indented so far: on a line, or on many."""
    line = f"{function}({', '.join(arguments)}),"
    if indent + len(line) <= WIDTH:
        return line
    inner = "".join(f"\n{' ' * (indent + 4)}{argument}," for argument in arguments)
    return f"{function}({inner}\n{' ' * indent}),"
