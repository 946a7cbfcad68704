"""scikit-learn estimators in skops files. Nothing is unpickled, and only trusted types are loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from zipfile import ZIP_DEFLATED, BadZipFile

from karat.errors import UntrustedModel


@contextmanager
def _without(library: str) -> Iterator[None]:
    """Make ``import library`` fail in the block, unless the library is loaded already."""
    absent = library not in sys.modules
    if absent:
        sys.modules[library] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules[library]


# To list scikit-learn's types skops imports all of its packages; one of them imports torch where it is installed, at 3
# seconds and 300 MB for each process that loads a model.
with _without("torch"):
    import skops.io

__all__ = ["FILE", "load", "save", "skops"]

Estimator = TypeVar("Estimator")
FILE = "estimator.skops"


def save(estimator: object, folder: Path) -> None:
    """Write ``estimator`` into ``folder``."""
    skops.io.dump(estimator, folder / FILE, compression=ZIP_DEFLATED, compresslevel=1)


def load(folder: Path, expected: type[Estimator], trusted: Sequence[str]) -> Estimator:
    """Read the estimator of ``folder``.

    Args:
        folder: Where ``save`` wrote.
        expected: The class that the file must hold.
        trusted: Types to trust besides those that skops trusts.

    Returns:
        The estimator.

    Raises:
        UntrustedModel: The file names other types, holds another class, or cannot be read.
    """
    path = folder / FILE
    try:
        others = set(skops.io.get_untrusted_types(file=path)) - set(trusted)
        if others:
            raise UntrustedModel(
                f"the model's file names types that a {expected.__name__} does not use: {', '.join(sorted(others))}",
                where=str(path),
                remedy="do not load it; find out who wrote it, and train the model again",
            )
        estimator = skops.io.load(path, trusted=list(trusted))
    except (OSError, BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UntrustedModel(
            f"the model's file can't be read as a {expected.__name__}: {error}",
            where=str(path),
            remedy="load a folder that Model.save has written, or train the model again",
        ) from error
    if type(estimator) is not expected:
        raise UntrustedModel(
            f"the model's file holds a {type(estimator).__name__}, not a {expected.__name__}", where=str(path)
        )
    return estimator
