"""Pages that are written about a version after it was registered, among the artifacts of its run."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from karat.registry.connection import Connection


def attach(connection: Connection, run_id: str, path: str, text: str) -> None:
    """Puts a text file at ``path`` (FOLDER/NAME), or in the place of the one that is there."""
    folder, _, name = path.rpartition("/")
    local = connection.local(connection.client.get_run(run_id).info.artifact_uri)
    with tempfile.TemporaryDirectory(prefix="karat-page-") as work:
        made = Path(work) / name
        made.write_text(text, encoding="utf-8")
        if local is None:
            connection.client.log_artifact(run_id, str(made), folder)
            return
        (local / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(made, local / folder / f".{name}")
        (local / folder / f".{name}").replace(local / path)
