"""What passes between a flow and its Ray job: a spec on the way in, references and errors on the way out."""

from __future__ import annotations

import os
import tempfile
import traceback
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

import karat.errors
from infra.code import CodeVersion
from karat.errors import KaratError

#: Every program that a flow may submit.
Program = Literal[
    "ray_jobs.compute_features",
    "ray_jobs.train_models",
    "ray_jobs.promote_models",
    "ray_jobs.score_models",
    "ray_jobs.monitor_models",
    "ray_jobs.serve_champions",
]

# What another try can mend without a person: something was out of reach or in the way, nothing was wrong.
_TRANSIENT = (karat.errors.StoreError, karat.errors.PlatformError, OSError)
_LASTING = (
    karat.errors.DiskFull,
    karat.errors.CodeMismatch,
    karat.errors.UnsoundVersions,
    karat.errors.JobCancelled,
    karat.errors.JobTimedOut,
)


class Record(BaseModel):
    """A frozen record that is written whole or not at all."""

    model_config = ConfigDict(frozen=True)

    def write(self, path: Path) -> None:
        """Written beside ``path``, then renamed: a reader sees the old file or the new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                file.write(self.model_dump_json(indent=2))
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise


class JobSpec(Record):
    """One job: the program, its project and parameters, and the code that every node must have."""

    entrypoint: str = Field(pattern=r"^[a-z_]+(\.[a-z_]+)*$")
    project: str
    parameters: dict[str, Any] = {}
    code: CodeVersion


class JobError(Record):
    """An exception as it crosses the border: ``raised()`` gives it back in its own class."""

    type: str
    what: str
    where: str = ""
    remedy: str = ""
    transient: bool
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> JobError:
        transient = is_transient(error)
        if isinstance(error, KaratError):
            return cls(
                type=type(error).__name__,
                what=error.what,
                where=error.where,
                remedy=error.remedy,
                transient=transient,
            )
        lines = traceback.format_exception(error)
        return cls(
            type=type(error).__name__, what=str(error) or repr(error), transient=transient, traceback="".join(lines)
        )

    def raised(self) -> KaratError:
        """The KaratError of that class; any other exception as JobFailed that names it."""
        kind = getattr(karat.errors, self.type, None)
        if isinstance(kind, type) and issubclass(kind, KaratError):
            error = kind(self.what, where=self.where, remedy=self.remedy)
        else:
            error = karat.errors.JobFailed(f"{self.type}: {self.what}", where=self.where, remedy=self.remedy)
        error.transient = self.transient  # type: ignore[attr-defined]
        return error

    def __str__(self) -> str:
        return f"{self.type}: {self.what}"


class Outcome(Record):
    """What became of one table or model: ``done``, ``kept`` (nothing was to do), ``skipped`` (its gold or its
    champion is still to come) or ``failed``; ``said`` in words."""

    name: str
    state: Literal["done", "kept", "skipped", "failed"]
    said: str = ""
    reference: dict[str, Any] = {}
    error: JobError | None = None


class JobResult(Record):
    """References only: tables with versions, run ids, model versions. ``error`` where the job itself failed."""

    outcomes: tuple[Outcome, ...] = ()
    error: JobError | None = None
    seconds: float = 0.0


def is_transient(error: BaseException) -> bool:
    """True where the same work may well succeed at the next try, with nobody doing anything."""
    known = getattr(error, "transient", None)
    if known is not None:
        return bool(known)
    if isinstance(error, karat.errors.PartlyFailed):
        return any(o.error is not None and o.error.transient for o in error.outcomes if isinstance(o, Outcome))
    # Ray's own errors: a worker or a node died under the work.
    by_ray = type(error).__module__.startswith("ray.")
    return by_ray or (isinstance(error, _TRANSIENT) and not isinstance(error, _LASTING))
