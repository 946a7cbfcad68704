"""A peer's side of the conversation: a line in, one run, a line of JSON out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any


def serve(work: Callable[[], Any], *packages: str) -> None:
    """``work`` is what is measured; what it returns as a dict is added to the answer."""
    answer({"versions": {package: version(package) for package in packages}})
    for _ in sys.stdin:
        began = time.perf_counter()
        more = work()
        answer({"seconds": time.perf_counter() - began, **(more if isinstance(more, dict) else {})})


def answer(record: dict[str, Any]) -> None:
    print("\n" + json.dumps(record), flush=True)
