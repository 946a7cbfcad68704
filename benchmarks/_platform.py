"""A platform for a trial: the one that runs, or one of its own that is gone afterwards."""

from __future__ import annotations

import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.environment import use_platform
from infra.local.platform import down, up
from karat.settings import Settings

ROOT = Path(__file__).parent.parent
PORTS = ("prefect_port", "mlflow_port", "ray_dashboard_port", "serve_port", "console_port", "ray_gcs_port")


@contextmanager
def trial_platform(*, here: bool) -> Iterator[Settings]:
    """Yield the settings of a platform that answers; this process is its client from then on.

    Args:
        here: Whether to take the platform that these settings name, and to leave it running.
    """
    if here:
        settings = Settings()
        use_platform(settings)
        up(settings)
        yield settings
        return
    folder = Path(tempfile.mkdtemp(prefix="karat-trial-"))
    block = free_block(40)
    numbers = {name: block + place for place, name in enumerate(PORTS)} | {"ray_port_base": block + 10}
    settings = Settings(home=folder / "home", projects=ROOT / "projects", job_pending_seconds=120, **numbers)
    use_platform(settings)
    try:
        up(settings)
        yield settings
    finally:
        down(settings)
        shutil.rmtree(folder, ignore_errors=True)


def free_block(size: int) -> int:
    """The first of ``size`` ports in a row that nobody listens on, below those that Serve and the kernel give out."""
    starts = list(range(22000, 29900, size))
    random.SystemRandom().shuffle(starts)
    return next(start for start in starts if all(_is_free(start + i) for i in range(size)))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
