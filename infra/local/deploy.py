"""Deploys the inference application once Ray answers; the keeper runs this program."""

from __future__ import annotations

import sys
import time

from infra.local.probes import ray
from infra.serve_application import deploy_application
from karat.errors import KaratError
from karat.settings import Settings


def main() -> None:
    """Wait for Ray, then deploy."""
    settings = Settings()
    while ray(settings):
        time.sleep(0.3)
    try:
        deploy_application(settings)
    except KaratError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
