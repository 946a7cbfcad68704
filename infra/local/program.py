"""Entry point of every supervised program: adopts a running instance; else ends its leftovers, prepares, executes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import version

from infra.local import stand_in
from infra.local.environment import haproxy_folder, runtime_folder, server_secrets
from infra.local.instances import record_instance, redirect_output, rotate, running_instance
from infra.local.new_database import create_database
from infra.local.platform_parts import executable, log_file, mlflow_database, parts, prefect_database, ray_logs
from infra.local.probes import prefect
from infra.local.processes import end, is_flow, ours, part_of
from karat.settings import Settings


def main(name: str) -> None:
    """Become the program of part ``name``, or the stand-in of an instance that a killed supervisor has left running."""
    settings = Settings()
    part, log = parts(settings)[name], log_file(settings, name)
    rotate(log)
    redirect_output(log)
    if left := running_instance(settings, name):
        os.execv(sys.executable, [sys.executable, "-S", "-I", stand_in.__file__, str(left.pid)])
    # Killed, as the instance whose remains these are has been: they hold its ports.
    end(ours(settings, lambda process: part_of(process) == name and (part.alone or not is_flow(process))), grace=0)
    if name in PREPARE:
        PREPARE[name](settings)
    record_instance(settings, name)
    os.execve(part.command[0], part.command, os.environ | server_secrets(settings, name))


def upgrade_mlflow(settings: Settings) -> None:
    """Brings the database to the schema of the installed MLflow, once for each version of it, before it has users."""
    database, stamp = mlflow_database(settings), mlflow_database(settings).with_name("upgraded_to")
    installed = version("mlflow")
    if database.is_file() and stamp.is_file() and stamp.read_text() == installed:
        return
    if not create_database("mlflow", database):
        subprocess.run([executable("mlflow"), "db", "upgrade", f"sqlite:///{database}"], check=True)
        with sqlite3.connect(database) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # readers and the writer no longer wait for one another
    stamp.write_text(installed)


def prepare_prefect(settings: Settings) -> None:
    """Makes the database of a new home; the server itself brings an older one to its schema."""
    create_database("prefect", prefect_database(settings))


def prepare_ray(settings: Settings) -> None:
    """Keeps the logs of the last session beside those of the one to come."""
    folder = runtime_folder(settings) / "ray"
    folder.mkdir(exist_ok=True)
    haproxy_folder(settings).mkdir(exist_ok=True)
    sessions = sorted((p for p in folder.glob("session_2*") if p.is_dir()), key=lambda p: p.stat().st_mtime)
    for session in sessions[:-1]:
        shutil.rmtree(session, ignore_errors=True)
    shown = ray_logs(settings)
    if shown.is_symlink():
        shown.unlink()
    shutil.rmtree(shown, ignore_errors=True)
    shown.symlink_to(folder / "session_latest" / "logs")


def await_prefect(settings: Settings) -> None:
    """A worker that finds no server gives up; one that waits here starts as soon as it can."""
    while prefect(settings):
        time.sleep(0.3)


PREPARE = {"mlflow": upgrade_mlflow, "prefect": prepare_prefect, "ray": prepare_ray, "worker": await_prefect}


if __name__ == "__main__":
    main(sys.argv[1])
