"""Runs one flow in a process of its own, as the worker does: `python -m tests.run_flow MODULE:FLOW PARAMETERS`.

Prefect and Ray read their environment when they are imported, long before a test's platform is up. The last line on
standard output is JSON: the outcomes, or the error's class and text.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

from infra.job_records import Outcome
from karat.errors import KaratError


def main() -> None:
    module, name = sys.argv[1].split(":")
    try:
        outcomes: tuple[Outcome, ...] = getattr(import_module(module), name)(**json.loads(sys.argv[2]))
    except KaratError as error:
        print(json.dumps({"error": type(error).__name__, "text": str(error)}))
        sys.exit(1)
    print(json.dumps({"outcomes": {o.name: o.state for o in outcomes}}))


if __name__ == "__main__":
    main()
