"""Version bounds of the packages, each with what breaks outside of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet

from karat.errors import UnsoundVersions


@dataclass(frozen=True)
class Bound:
    """The versions of a package that work, and why others do not."""

    package: str
    allowed: str
    because: str


BOUNDS = (
    Bound("fastapi", ">=0.139,<0.151", "Prefect 3.8.8 dies at start with a later one"),
    Bound("sqlalchemy", "<2.1", "Prefect's scheduler silently makes no runs with a later one"),
    Bound("pandas", "<3", "Evidently cannot be imported with a later one"),
    Bound("ray", "==2.60.0", "Serve's fast mode and the Jobs API were measured with it"),
    Bound("prefect", "==3.8.8", "3.9 has other bounds"),
    Bound("mlflow", "==3.17.2", "its database has the schema of one version"),
    Bound("deltalake", ">=1.6.6,<2", "many writers make one commit through its transactions"),
    Bound("xgboost", ">=3.2,<4", "xgboost-ray's tracker is replaced by this one's"),
    Bound("supervisor", ">=4.3,<5", "its configuration is written for it"),
)


def unsound(bounds: tuple[Bound, ...] = BOUNDS) -> list[str]:
    """One line for each installed version outside its bounds."""
    return [
        f"{bound.package} {installed} is installed, {bound.allowed} is needed: {bound.because}"
        for bound in bounds
        if (installed := _installed(bound.package)) not in SpecifierSet(bound.allowed, prereleases=True)
    ]


def check_versions(bounds: tuple[Bound, ...] = BOUNDS) -> None:
    """Raises UnsoundVersions with every version outside its bounds."""
    if lines := unsound(bounds):
        raise UnsoundVersions(
            "installed versions do not fit together:\n" + "\n".join(f"  - {line}" for line in lines),
            remedy="install those of the lock file: pip install -r requirements.lock",
        )


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "0"
