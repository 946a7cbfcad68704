"""Keeps the inference application deployed: a Ray that was restarted has forgotten it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time

from infra.local.probes import NoAnswer, call_ray, ray
from karat.settings import Settings

PAUSE_SECONDS, PAUSE_AFTER_FAILURE_SECONDS = 2.0, 10.0
log = logging.getLogger("keeper")


def deployed(settings: Settings) -> bool:
    """True where Serve has an application that runs or is on its way. Raises NoAnswer."""
    applications = call_ray(settings, "/api/serve/applications/").get("applications", {})
    return any(a["status"] in ("RUNNING", "DEPLOYING") for a in applications.values())


def keep(settings: Settings) -> bool:
    """Deploys what Ray does not have; False where it should, and could not."""
    try:
        if ray(settings) or deployed(settings):
            return True
    except NoAnswer as silence:
        log.warning("%s", silence)
        return False
    log.info("Ray has no application: deploying it")
    # In a process of its own: what deploying loads would stay for good in one that mostly waits.
    return subprocess.run([sys.executable, "-m", "infra.local.deploy"], check=False).returncode == 0


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings, parent = Settings(), os.getppid()
    while os.getppid() == parent:  # a keeper whose supervisor was killed has nothing left to keep
        time.sleep(PAUSE_SECONDS if keep(settings) else PAUSE_AFTER_FAILURE_SECONDS)


if __name__ == "__main__":
    main()
