"""Every error a user can meet, in one tree.

    KaratError                       exit status 1 unless a class says otherwise
    ├── WrongCall                    the call itself is wrong (exit status 2)
    │   ├── UnknownProject
    │   ├── UnknownModel
    │   ├── InvalidRequest           a prediction request: which field, and why
    │   │   ├── BodyTooLong          its body is longer than the service reads
    │   │   └── BodyTimedOut         its body did not arrive in time
    │   ├── ForeignCatalog           one environment writes another's catalog
    │   ├── InputNotFound            an input file does not exist
    │   ├── InvalidName              not valid as the name of a table, a file, and in Python and SQL
    │   ├── AlreadyThere             the thing to create exists already
    │   └── IngestedRows             a sample would replace ingested rows
    ├── DeclarationError             one or many errors in a project's declarations
    ├── DataError                    rows or columns that cannot be accepted
    │   ├── ColumnMissing
    │   ├── SchemaMismatch
    │   ├── KeyColumnNull
    │   ├── DuplicateKeys
    │   ├── NaiveTimestamp
    │   ├── DefinitionChanged        rows of two feature definitions would be mixed in one table
    │   ├── SequenceTooShort         fewer rows than sequence_length, and the lookup does not pad
    │   ├── FeaturesMissing          a prediction would stand on too few features, and its model refuses that
    │   ├── UnreadableInput          another encoding, header or format than expected
    │   ├── NoRowsLeft               every row of an input broke its contract
    │   └── QualityBlocked           a blocking check failed: nothing was committed
    ├── NotFound
    │   ├── TableNotFound
    │   ├── FeatureNotFound
    │   ├── LabelNotFound
    │   ├── FunctionNotFound
    │   ├── ModelNotFound
    │   ├── EntityNotFound           no lookup has rows of it, and the request brings no features
    │   ├── NoChampion
    │   ├── NoCounterfactual         no allowed change of a row turns the model's decision
    │   └── NoDataToCompare          no logged prediction can be compared with the offline store
    ├── LookupKeyMismatch
    ├── TrainingError
    │   ├── EmptyTrainingSet
    │   ├── TooFewRows
    │   ├── UnusableLabel            all null, a single class, infinite
    │   ├── LabelOverlapsFeatures
    │   ├── PerfectScore             too good to be true: a feature leaks the label
    │   └── RebuildFailed            a training set cannot be reproduced
    ├── SignatureError
    ├── BreakingChange               a champion reads what would be changed or removed, or is removed itself
    ├── PromotionRefused             a version did not pass the gates, or waits for approval
    ├── UntrustedModel               a model file would run untrusted code
    ├── FeatureFunctionFailed        it raised an error, or did not return one value per row
    ├── ExplanationFailed            a prediction's contributions do not add up to it
    ├── FunctionChanged              its source is not the one the model was trained with
    ├── FeatureLookupFailed          at inference: which table, which keys
    ├── LibraryFailed                a library's error that Karat has no rule for; it is the cause
    ├── MissingExtra                 a library of an optional extra is not installed
    ├── StaleFeatures                inference before the day's features were computed
    ├── StoreError
    │   ├── StoreUnreachable
    │   ├── DiskFull
    │   └── CommitConflict
    └── PlatformError
        ├── PortTaken
        ├── ServiceDown
        │   └── ServiceBusy          as many requests as the service takes at once are being answered
        ├── JobFailed
        │   ├── JobTimedOut          stopped at the project's time limit
        │   ├── JobPending           never started: Ray left it pending for longer than the setting allows
        │   └── PartlyFailed         some tables or models failed; the others are done
        ├── JobCancelled
        ├── CodeMismatch             nodes run different commits
        └── UnsoundVersions

A message says what is wrong, where, and what to do next.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

#: Characters of a line of an error. A message may quote what a caller has given, which may be megabytes.
LINE = 500


def shorten(text: str, most: int = LINE) -> str:
    """Cut every line of a text in its middle.

    Args:
        text: The text, of any length.
        most: Characters that a line may have.

    Returns:
        The text. A line that was cut keeps its beginning and its end and says how much was left out.
    """
    if len(text) <= most:
        return text
    return "\n".join(line if len(line) <= most else _cut(line, most) for line in text.split("\n"))


def _cut(line: str, most: int) -> str:
    half = most // 2 - 20
    return f"{line[:half]} ... ({len(line) - 2 * half} characters) ... {line[-half:]}"


class KaratError(Exception):
    """Base of every error that a user can meet. Its lines are cut at ``LINE`` characters.

    Attributes:
        what: What went wrong.
        where: The table, file, field or place, in one line; "" if ``what`` already names it.
        remedy: What to do next.
        exit_code: The exit status of the command line.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        what, where, remedy = shorten(what), shorten(where.replace("\n", "\\n")), shorten(remedy)
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
    """The call itself is wrong: nothing was done."""

    exit_code = 2


class UnknownProject(WrongCall):
    """No project has this name."""


class UnknownModel(WrongCall):
    """No declared model has this name."""


class InvalidRequest(WrongCall):
    """A prediction request is invalid; ``where`` is its field, the parts joined by dots."""


class BodyTooLong(InvalidRequest):
    """The body of a request is longer than the service reads."""


class BodyTimedOut(InvalidRequest):
    """The body of a request did not arrive in time."""


class ForeignCatalog(WrongCall):
    """A process of one environment writes to another environment's catalog."""


class InputNotFound(WrongCall):
    """An input file does not exist."""


class InvalidName(WrongCall):
    """A name that is not valid as the name of a table, a file, and in Python and SQL."""


class AlreadyThere(WrongCall):
    """The thing to create exists already."""


class IngestedRows(WrongCall):
    """A sample would replace ingested rows."""


class DeclarationError(KaratError):
    """All errors of a project's declarations at once.

    Attributes:
        errors: One line for each error.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", remedy: str = "", errors: Iterable[str] = ()) -> None:
        self.errors = tuple(errors)
        listed = "".join(f"\n  - {e}" for e in self.errors)
        super().__init__(what + listed, where=where, remedy=remedy)


class DataError(KaratError):
    """Rows or columns that cannot be accepted."""


class ColumnMissing(DataError):
    """A required column is missing."""


class SchemaMismatch(DataError):
    """A column or a table has another type or shape than declared."""


class KeyColumnNull(DataError):
    """Rows have no value in a key column."""


class DuplicateKeys(DataError):
    """Several rows have the same key."""


class NaiveTimestamp(DataError):
    """Timestamps have no time zone."""


class DefinitionChanged(DataError):
    """Rows of two feature definitions would be mixed in one table."""


class SequenceTooShort(DataError):
    """An entity has fewer rows than ``sequence_length``, and the lookup does not pad."""


class FeaturesMissing(DataError):
    """More of a prediction's features are missing than its model accepts."""


class UnreadableInput(DataError):
    """A file has another encoding, header or format than expected."""


class NoRowsLeft(DataError):
    """Every row of an input broke its contract."""


class QualityBlocked(DataError):
    """A blocking check failed: nothing was committed."""


class NotFound(KaratError):
    """A named thing does not exist."""


class TableNotFound(NotFound):
    """A table or one of its versions does not exist."""


class FeatureNotFound(NotFound):
    """A feature does not exist in its table."""


class LabelNotFound(NotFound):
    """A training set has no such label."""


class FunctionNotFound(NotFound):
    """No feature function has this name."""


class ModelNotFound(NotFound):
    """A registered model or one of its versions does not exist."""


class EntityNotFound(NotFound):
    """No lookup has rows of the entity, and the request brings no features."""


class NoChampion(NotFound):
    """A registered model has no champion."""


class NoCounterfactual(NotFound):
    """No allowed change of a row's features turns the model's decision."""


class NoDataToCompare(NotFound):
    """No logged prediction can be compared with the offline store."""


class LookupKeyMismatch(KaratError):
    """The keys of a lookup do not match the keys of its table."""


class TrainingError(KaratError):
    """A model cannot be trained."""


class EmptyTrainingSet(TrainingError):
    """A training set has no rows."""


class TooFewRows(TrainingError):
    """A training set has too few rows to train or to evaluate on."""


class UnusableLabel(TrainingError):
    """A label is all null, has a single class or is infinite."""


class LabelOverlapsFeatures(TrainingError):
    """A label's window begins before its features' window ends."""


class PerfectScore(TrainingError):
    """A score is too good to be true: a feature leaks the label."""


class RebuildFailed(TrainingError):
    """A training set cannot be reproduced, or differs from the one that was pinned."""


class SignatureError(KaratError):
    """A frame does not match a model's signature."""


class BreakingChange(KaratError):
    """A champion reads what would be changed or removed, or is removed itself while it answers requests.

    It is raised before anything is done, so it exits with 2, as a wrong call does.
    """

    exit_code = 2


class PromotionRefused(KaratError):
    """A version did not pass the gates, or waits for approval."""


class UntrustedModel(KaratError):
    """A model file would run untrusted code."""


class FeatureFunctionFailed(KaratError):
    """A feature function raised an error, or did not return one value per row."""


class ExplanationFailed(KaratError):
    """The contributions to a prediction do not add up to it."""


class FunctionChanged(KaratError):
    """A feature function has another source than the one the model was trained with."""


class FeatureLookupFailed(KaratError):
    """A feature lookup failed at inference; the message names table and keys."""


class LibraryFailed(KaratError):
    """A library raised an error that Karat has no rule for; it is the ``__cause__``."""


class MissingExtra(KaratError):
    """A library of an optional extra is not installed."""


class StaleFeatures(KaratError):
    """Inference was asked for before the day's features were computed."""


class StoreError(KaratError):
    """The lake, the online store or the registry failed."""


class StoreUnreachable(StoreError):
    """A store cannot be read or written."""


class DiskFull(StoreError):
    """A volume has no space left."""


class CommitConflict(StoreError):
    """Other writers committed first, in every attempt."""


class PlatformError(KaratError):
    """Ray, Prefect, MLflow or the local platform failed."""


class PortTaken(PlatformError):
    """Another process uses a port of the platform."""


class ServiceDown(PlatformError):
    """A service of the platform does not answer."""


class ServiceBusy(ServiceDown):
    """As many requests as the service takes at once are being answered."""


class JobFailed(PlatformError):
    """A Ray job failed."""


class JobTimedOut(JobFailed):
    """A job exceeded the project's time limit and was stopped."""


class JobPending(JobFailed):
    """A job that Ray never started was given up; another try submits it anew."""


class PartlyFailed(JobFailed):
    """Some tables or models of a step failed; the others are done.

    Attributes:
        outcomes: The outcome of every table or model of the step, successful ones included. The run continues with
            them.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "", outcomes: Iterable[object] = ()) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.outcomes = tuple(outcomes)


class JobCancelled(PlatformError):
    """A job was cancelled."""


class CodeMismatch(PlatformError):
    """The nodes of a cluster run different commits."""


class UnsoundVersions(PlatformError):
    """Installed library versions are known not to work together."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the known name that is nearest to a wrong one.

    Args:
        name: The wrong name; case does not count.
        known: The names that exist.

    Returns:
        ``Did you mean 'x'?``, else a list of the known names, or "" if there are none.
    """
    known = sorted(set(known))
    if not known:
        return ""
    spelled = {k.lower(): k for k in reversed(known)}  # capitals make no other name
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {spelled[near[0]]!r}?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"Known: {shown}."


#: Messages of Arrow, object_store and LMDB when a volume is full.
_FULL = ("no space left on device", "file too large", "disk quota exceeded", "mdb_map_full", "os error 28")


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means that a volume is full or a size limit was reached.

    Args:
        error: The error; its causes are searched, too.

    Returns:
        True if it or a cause has such an errno or message.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if any(text in str(seen).lower() for text in _FULL):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
