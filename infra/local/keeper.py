"""Keeps what no supervisor keeps: the application, flow runs without a process, log files, the supervisor itself."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from infra.local.guard import guard
from infra.local.instances import rotate
from infra.local.platform_parts import log_file, parts
from infra.local.probes import NoAnswer, call_ray
from infra.run_recovery import keep_runs
from karat.settings import Settings

LOG_SECONDS = 60.0
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


def keep_application(settings: Settings) -> None:
    """Deploy the application, then again whenever Ray has lost it."""
    done = deploy()
    while True:
        time.sleep(PAUSE_SECONDS if done else PAUSE_AFTER_FAILURE_SECONDS)
        if missing(settings):
            done = deploy()


def keep_logs(settings: Settings) -> None:
    """Shorten the parts' log files while they are written."""
    while True:
        time.sleep(LOG_SECONDS)
        for name in parts(settings):
            rotate(log_file(settings, name))


def _or_end(keep: Callable[[Settings], None], settings: Settings) -> None:
    """A thread that fails must not leave its work undone without a word: the supervisor starts another keeper."""
    try:
        keep(settings)
    except BaseException:
        log.exception("%s failed", keep.__name__)
        os._exit(1)


def main() -> None:
    """Keep everything until the supervisor dies, and start another one then."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings, parent = Settings(), os.getppid()
    for keep in (keep_application, keep_runs, keep_logs):
        threading.Thread(target=_or_end, args=(keep, settings), name=keep.__name__, daemon=True).start()
    guard(settings, parent)


if __name__ == "__main__":
    main()
