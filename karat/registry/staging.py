"""Copies of model versions for serving: a replica loads one from disk, without MLflow, in milliseconds.

A copy holds the model's own files and the version's record. It leaves out the spine, which holds persons' keys.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from karat.names import ModelName
from karat.registry.model_files import SPINE, read_folder
from karat.registry.records import LoadedModel, ModelVersion

if TYPE_CHECKING:
    from karat.registry.store import Registry

_RECORD = "version.json"


def stage_version(registry: Registry, version: ModelVersion, root: Path) -> None:
    """Copy a version for serving, in place of an older copy. Several processes may do so at once.

    Args:
        registry: Where the version is registered.
        version: The version.
        root: The folder of all copies.

    Raises:
        KaratError: What reading the version's files raises.
        OSError: The copy cannot be written.
    """
    target = _folder(root, version.name, version.version)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=".new", dir=root))
    try:
        with registry.files(version) as files:
            shutil.copytree(files, fresh, ignore=shutil.ignore_patterns(SPINE), dirs_exist_ok=True)
        record = asdict(version) | {"name": str(version.name), "created": version.created.isoformat()}
        (fresh / _RECORD).write_text(json.dumps(record))
        with suppress(FileNotFoundError):
            target.rename(fresh.with_suffix(".old"))
        with suppress(OSError):  # another process was faster
            fresh.rename(target)
    finally:
        shutil.rmtree(fresh.with_suffix(".old"), ignore_errors=True)
        shutil.rmtree(fresh, ignore_errors=True)


def load_staged(root: Path, name: ModelName, version: int) -> tuple[ModelVersion, LoadedModel] | None:
    """Load a version from its copy.

    Args:
        root: The folder of all copies.
        name: Registered name.
        version: Number.

    Returns:
        The version's record and its model; None without a whole copy.

    Raises:
        UntrustedModel: The copy is no model of Karat's.
    """
    folder = _folder(root, name, version)
    try:
        record = json.loads((folder / _RECORD).read_text())
        found = ModelVersion(
            **record
            | {
                "name": ModelName.parse(record["name"]),
                "created": datetime.fromisoformat(record["created"]),
                "aliases": tuple(record["aliases"]),
            }
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    model, metadata = read_folder(folder)
    return found, LoadedModel(found.name, found.version, found.run_id, model, metadata)


def keep_staged(root: Path, kept: Iterable[tuple[ModelName, int]]) -> None:
    """Remove the copies of all other versions."""
    names = {_folder(root, name, version).name for name, version in kept}
    for folder in root.iterdir() if root.is_dir() else ():
        made_of, _, unfinished = folder.name.partition("@")
        if f"{made_of}@{unfinished.partition('.')[0]}" not in names:
            shutil.rmtree(folder, ignore_errors=True)


def _folder(root: Path, name: ModelName, version: int) -> Path:
    return root / f"{name}@{version}"
