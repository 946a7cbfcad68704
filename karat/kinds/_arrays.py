"""Model arrays in an npz file. Nothing is unpickled, and only known names are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from karat.errors import UntrustedModel

FILE = "estimator.npz"


def save(arrays: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write ``arrays`` into ``folder``."""
    np.savez(folder / FILE, **arrays)  # type: ignore[arg-type]


def load(folder: Path) -> dict[str, np.ndarray]:
    """Read float arrays by name.

    Raises:
        UntrustedModel: The file cannot be read, or holds anything but finite floats.
    """
    path = folder / FILE
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile, AttributeError) as error:
        raise UntrustedModel(
            f"the model's file can't be read as arrays: {error}",
            where=str(path),
            remedy="load a folder that Model.save has written, or train the model again",
        ) from error
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise UntrustedModel(f"the array {name!r} in the model's file holds no finite numbers", where=str(path))
    return arrays


def check_shapes(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], folder: Path) -> None:
    """Require exactly the arrays of ``shapes``.

    Raises:
        UntrustedModel: An array is missing, unknown or of another shape.
    """
    found = {name: array.shape for name, array in arrays.items()}
    if found != dict(shapes):
        odd = sorted({n for n in {*found, *shapes} if found.get(n) != shapes.get(n)})
        raise UntrustedModel(f"the model's file has wrong arrays: {', '.join(odd)}", where=str(folder))
