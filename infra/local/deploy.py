"""Deploys the inference application, and ends; the keeper runs it."""

from __future__ import annotations

import sys

from infra.serve_application import deploy_application
from karat.errors import KaratError
from karat.settings import Settings


def main() -> None:
    try:
        deploy_application(Settings())
    except KaratError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
