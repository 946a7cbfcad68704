"""Keeps the inference application deployed: a Ray that was restarted has forgotten it."""

from __future__ import annotations

import logging
import os
import sys
import time

from infra.local.environment import use_platform
from infra.local.probes import NoAnswer, call_ray, ray
from infra.serving import deploy_application
from karat.errors import KaratError
from karat.settings import Settings

PAUSE_SECONDS = 2.0
log = logging.getLogger("keeper")


def deployed(settings: Settings) -> bool:
    """True where Serve has an application that runs or is on its way. Raises NoAnswer."""
    applications = call_ray(settings, "/api/serve/applications/").get("applications", {})
    return any(a["status"] in ("RUNNING", "DEPLOYING") for a in applications.values())


def keep(settings: Settings) -> None:
    """Deploys what Ray does not have; a failure is tried again after the pause."""
    if ray(settings):
        return
    try:
        if not deployed(settings):
            log.info("Ray has no application: deploying it")
            deploy_application(settings)
            log.info("deployed")
    except (NoAnswer, KaratError) as error:
        log.warning("not deployed: %s", error)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    settings = Settings()
    use_platform(settings)
    parent = os.getppid()
    while os.getppid() == parent:  # a keeper whose supervisor was killed has nothing left to keep
        keep(settings)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
