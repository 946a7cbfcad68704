"""Redeploys the inference application after a restart of Ray, which forgets it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time

from infra.local.probes import NoAnswer, call_ray
from karat.settings import Settings

PAUSE_SECONDS, PAUSE_AFTER_FAILURE_SECONDS = 2.0, 10.0
log = logging.getLogger("keeper")


def missing(settings: Settings) -> bool:
    """True where Ray answers, and Serve has no application that runs or is on its way."""
    try:
        # Serve's part of the dashboard is loaded when it is first asked, which takes some seconds.
        told = call_ray(settings, "/api/serve/applications/", seconds=30)
    except NoAnswer:
        return False
    return not any(a["status"] in ("RUNNING", "DEPLOYING") for a in told.get("applications", {}).values())


def deploy() -> bool:
    """In a process of its own: what deploying loads would stay for good in one that mostly waits."""
    log.info("deploying the application")
    return subprocess.run([sys.executable, "-m", "infra.local.deploy"], check=False).returncode == 0


def main() -> None:
    """Deploy the application, then watch it until the supervisor is gone."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings, parent = Settings(), os.getppid()
    done = deploy()
    while os.getppid() == parent:  # a keeper whose supervisor was killed has nothing left to keep
        time.sleep(PAUSE_SECONDS if done else PAUSE_AFTER_FAILURE_SECONDS)
        if missing(settings):
            done = deploy()


if __name__ == "__main__":
    main()
