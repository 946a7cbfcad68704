"""Pages about a version that are written after it was registered, among the artifacts of its run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from karat.registry.connection import Connection


def attach_page(connection: Connection, run_id: str, path: str, text: str, keep: int | None = None) -> None:
    """Put a text file at ``path`` among a run's artifacts, replacing the one that is there.

    Args:
        connection: The MLflow.
        run_id: The run.
        path: FOLDER/DAY-NAME.
        text: Content.
        keep: Number of files with the same NAME that stay, the newest days; all by default.
    """
    folder, name = str(PurePosixPath(path).parent), PurePosixPath(path).name
    local = connection.local(connection.client.get_run(run_id).info.artifact_uri)
    with tempfile.TemporaryDirectory(prefix="karat-page-") as work:
        made = Path(work) / name
        made.write_text(text, encoding="utf-8")
        if local is None:
            connection.client.log_artifact(run_id, str(made), folder)
        else:
            (local / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(made, local / folder / f".{name}")
            (local / folder / f".{name}").replace(local / path)
    for old in _older(connection, run_id, path, keep) if keep else ():
        if local is None:
            connection.run_files(run_id).delete_artifacts(old)
        else:
            (local / old).unlink(missing_ok=True)


def _older(connection: Connection, run_id: str, path: str, keep: int) -> Iterator[str]:
    """The files beside ``path`` with the same name but another day, without the newest."""
    folder, ending = str(PurePosixPath(path).parent), _undated(path)
    local = connection.local(connection.client.get_run(run_id).info.artifact_uri)
    if local is not None:
        found = [f"{folder}/{p.name}" for p in (local / folder).iterdir()]
    else:
        found = [f.path for f in connection.client.list_artifacts(run_id, folder)]
    yield from sorted(f for f in found if _undated(f) == ending)[:-keep]


def _undated(path: str) -> str:
    """``monitoring/2026-11-21-dataset.html`` -> ``-dataset.html``."""
    return PurePosixPath(path).name[len("2026-11-21") :]
