"""scikit-learn estimators to and from files, through skops: nothing is unpickled, and only listed types are made."""

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
    """Meanwhile ``import library`` fails, unless it is there already."""
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
    skops.io.dump(estimator, folder / FILE, compression=ZIP_DEFLATED, compresslevel=1)


def load(folder: Path, expected: type[Estimator], trusted: Sequence[str]) -> Estimator:
    """The estimator of ``folder``. Raises UntrustedModel where the file names a type outside ``trusted`` and skops'
    own list, is not an ``expected``, or can't be read."""
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
