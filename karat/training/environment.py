"""Where and at what cost a model was trained: seconds, peak memory, hardware and library versions."""

from __future__ import annotations

import platform
import resource
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

_LIBRARIES = ("karat", "numpy", "polars", "scikit-learn", "xgboost", "lightgbm", "torch", "fairlearn", "mlflow", "ray")


@dataclass(frozen=True)
class TrainingEnvironment:
    """The machine and the libraries of a training.

    Attributes:
        seconds: Duration of search, fit, evaluation and refit.
        peak_memory_mib: The greatest memory that the process has held so far; it may have trained other models before.
        cores: Cores of the machine.
        memory_gib: Memory of the machine.
        processor: Name of the processor.
        gpus: Names of the GPUs that torch has found; empty if the training loaded no torch.
        system: Operating system and architecture.
        python: Version of Python.
        libraries: Installed library -> version.
    """

    seconds: float
    peak_memory_mib: float
    cores: int
    memory_gib: float
    processor: str
    gpus: tuple[str, ...]
    system: str
    python: str
    libraries: dict[str, str]

    @classmethod
    def now(cls, seconds: float) -> TrainingEnvironment:
        """Describe this process, which took so many seconds."""
        # Linux counts kibibytes, macOS bytes.
        unit = 2**20 if sys.platform == "darwin" else 2**10
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        return cls(
            seconds=round(seconds, 3),
            peak_memory_mib=round(peak, 1),
            cores=psutil.cpu_count() or 1,
            memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
            processor=_processor(),
            gpus=_gpus(),
            system=f"{platform.system()} {platform.machine()}",
            python=platform.python_version(),
            libraries=dict(_installed()),
        )

    def as_metrics(self) -> dict[str, float]:
        """Return the costs under the names that are logged."""
        return {"resources_seconds": self.seconds, "resources_peak_memory_mib": self.peak_memory_mib}

    def to_dict(self) -> dict[str, object]:
        """Return the environment as plain values."""
        return asdict(self)


def _processor() -> str:
    """The processor's name, which Linux has in a file; elsewhere what Python knows of it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpus() -> tuple[str, ...]:
    """The GPUs, if torch is loaded: to load it for their names would take seconds."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not cuda.is_available():
        return ()
    return tuple(cuda.get_device_name(k) for k in range(cuda.device_count()))


def _installed() -> list[tuple[str, str]]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
