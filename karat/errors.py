"""Every error a user can meet, in one tree.

    KaratError                       exit status 1 unless a class says otherwise
    ├── WrongCall                    the call itself is wrong (exit status 2)
    │   ├── UnknownProject
    │   ├── UnknownModel
    │   ├── InvalidRequest           a prediction request: which field, and why
    │   ├── ForeignCatalog           one environment writes another's catalog
    │   ├── InputNotFound            a file to be ingested is not there
    │   ├── InvalidName              no name for a table, a file, Python and SQL alike
    │   ├── AlreadyThere             what is to be made new exists
    │   └── IngestedRows             a sample would replace rows that a user brought
    ├── DeclarationError             one or many errors in a project's declarations
    ├── DataError                    rows or columns that can't be taken
    │   ├── ColumnMissing
    │   ├── SchemaMismatch
    │   ├── KeyColumnNull
    │   ├── DuplicateKeys
    │   ├── NaiveTimestamp
    │   ├── DefinitionChanged        rows of two definitions would stand in one table
    │   ├── SequenceTooShort         fewer rows than sequence_length, and the lookup refuses to pad
    │   ├── UnreadableInput          not the file it is taken for: encoding, header, format
    │   ├── NoRowsLeft               every row of an input broke its contract
    │   └── QualityBlocked           a check that blocks was broken: nothing was committed
    ├── NotFound
    │   ├── TableNotFound
    │   ├── FeatureNotFound
    │   ├── LabelNotFound
    │   ├── FunctionNotFound
    │   ├── ModelNotFound
    │   ├── EntityNotFound           no lookup knows it, and the request brings no features
    │   ├── NoChampion
    │   └── NoDataToCompare          no logged prediction to be compared with the offline store
    ├── LookupKeyMismatch
    ├── TrainingError
    │   ├── EmptyTrainingSet
    │   ├── TooFewRows
    │   ├── UnusableLabel            all null, a single class, infinite
    │   ├── LabelOverlapsFeatures
    │   ├── PerfectScore             nobody knows the future: a feature holds the label
    │   └── RebuildFailed            a training set that is not what it was, or can't be read
    ├── SignatureError
    ├── BreakingChange               a champion reads what the declarations change or take away
    ├── PromotionRefused             a version did not pass the gates, or waits for approval
    ├── UntrustedModel               a file that would run foreign code
    ├── FeatureFunctionFailed        it raised, or gave no value a row
    ├── FunctionChanged              another source than the model was trained with
    ├── FeatureLookupFailed          at inference: which table, which keys
    ├── MissingExtra                 a library of an optional extra is not installed
    ├── StaleFeatures                inference before the features of the day
    ├── StoreError
    │   ├── StoreUnreachable
    │   ├── DiskFull
    │   └── CommitConflict
    └── PlatformError
        ├── PortTaken
        ├── ServiceDown
        ├── JobFailed
        │   ├── JobTimedOut          stopped at the project's time limit
        │   └── PartlyFailed         some of its tables or models; the others are done
        ├── JobCancelled
        ├── CodeMismatch             nodes run different commits
        └── UnsoundVersions

A message says what is wrong, where, and what to do next.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class KaratError(Exception):
    """Base of all. ``what`` happened, ``where``, and the ``remedy``: what to do next."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what, where, remedy)
        self.what, self.where, self.remedy = what, where, remedy

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.remedy:
            lines.append(f"  do: {self.remedy}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:  # errors cross process borders: Ray and Prefect pickle them
        return _rebuild, (type(self), self.what, self.where, self.remedy, self.__dict__)


def _rebuild(cls: type[KaratError], what: str, where: str, remedy: str, state: dict[str, object]) -> KaratError:
    error = cls.__new__(cls)
    Exception.__init__(error, what, where, remedy)
    error.__dict__.update(state)
    return error


class WrongCall(KaratError):
    exit_code = 2


class UnknownProject(WrongCall): ...


class UnknownModel(WrongCall): ...


class InvalidRequest(WrongCall):
    """``where`` is the request's field, its parts joined by dots."""


class ForeignCatalog(WrongCall): ...


class InputNotFound(WrongCall): ...


class InvalidName(WrongCall): ...


class AlreadyThere(WrongCall): ...


class IngestedRows(WrongCall): ...


class DeclarationError(KaratError):
    """All errors of a project's declarations at once; each one line in ``errors``."""

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", remedy: str = "", errors: Iterable[str] = ()) -> None:
        self.errors = tuple(errors)
        listed = "".join(f"\n  - {e}" for e in self.errors)
        super().__init__(what + listed, where=where, remedy=remedy)


class DataError(KaratError): ...


class ColumnMissing(DataError): ...


class SchemaMismatch(DataError): ...


class KeyColumnNull(DataError): ...


class DuplicateKeys(DataError): ...


class NaiveTimestamp(DataError): ...


class DefinitionChanged(DataError): ...


class SequenceTooShort(DataError): ...


class UnreadableInput(DataError): ...


class NoRowsLeft(DataError): ...


class QualityBlocked(DataError): ...


class NotFound(KaratError): ...


class TableNotFound(NotFound): ...


class FeatureNotFound(NotFound): ...


class LabelNotFound(NotFound): ...


class FunctionNotFound(NotFound): ...


class ModelNotFound(NotFound): ...


class EntityNotFound(NotFound): ...


class NoChampion(NotFound): ...


class NoDataToCompare(NotFound): ...


class LookupKeyMismatch(KaratError): ...


class TrainingError(KaratError): ...


class EmptyTrainingSet(TrainingError): ...


class TooFewRows(TrainingError): ...


class UnusableLabel(TrainingError): ...


class LabelOverlapsFeatures(TrainingError): ...


class PerfectScore(TrainingError): ...


class RebuildFailed(TrainingError): ...


class SignatureError(KaratError): ...


class BreakingChange(KaratError):
    """Raised before anything is done. As a wrong call it exits with 2."""

    exit_code = 2


class PromotionRefused(KaratError): ...


class UntrustedModel(KaratError): ...


class FeatureFunctionFailed(KaratError): ...


class FunctionChanged(KaratError): ...


class FeatureLookupFailed(KaratError): ...


class MissingExtra(KaratError): ...


class StaleFeatures(KaratError): ...


class StoreError(KaratError): ...


class StoreUnreachable(StoreError): ...


class DiskFull(StoreError): ...


class CommitConflict(StoreError): ...


class PlatformError(KaratError): ...


class PortTaken(PlatformError): ...


class ServiceDown(PlatformError): ...


class JobFailed(PlatformError): ...


class JobTimedOut(JobFailed): ...


class PartlyFailed(JobFailed):
    """``outcomes`` (of every table or model of the step, the good ones too) go on with the run."""

    def __init__(self, what: str, *, where: str = "", remedy: str = "", outcomes: Iterable[object] = ()) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.outcomes = tuple(outcomes)


class JobCancelled(PlatformError): ...


class CodeMismatch(PlatformError): ...


class UnsoundVersions(PlatformError): ...


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'?`` for the nearest of ``known``, else the list of them; "" when there are none."""
    known = sorted(set(known))
    if not known:
        return ""
    spelled = {k.lower(): k for k in reversed(known)}  # capitals make no other name
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {spelled[near[0]]!r}?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"Known: {shown}."


# What the layers below say when a volume is full: Python's errno, and the texts of Arrow, object_store and LMDB.
_FULL = ("no space left on device", "file too large", "disk quota exceeded", "mdb_map_full", "os error 28")


def is_disk_full(error: BaseException) -> bool:
    """True where ``error`` or one of its causes says that no space is left (or a size limit is reached)."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if any(text in str(seen).lower() for text in _FULL):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
