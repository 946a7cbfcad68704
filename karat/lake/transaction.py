"""Optimistic commits: a commit becomes exactly the version after the one that was read, or it is lost.

Delta's app transactions tell the loser of two writers.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction
from polars.exceptions import ComputeError
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from karat.errors import CommitConflict, DiskFull, KaratError, StoreUnreachable, is_disk_full
from karat.lake import log
from karat.lake.files import discard
from karat.lake.records import Commit, StagedFile, TableInfo, Work
from karat.names import TableName

#: Commits that may lose to other writers before a write gives up.
ATTEMPTS = 30
#: The app id of every commit of Karat. The last commit of a kind of work has the app id ``karat.work.KIND``.
APP = "karat"


@dataclass
class CommitPlan:
    """What one commit changes in the version that was read.

    Attributes:
        add: Files to add.
        remove: Files to remove.
        temporary: Files of this attempt only; they are deleted if it is lost.
        rows: Rows that the commit writes or removes.
        work: The work that the commit does.
        days: Days whose rows it changes.
    """

    add: list[StagedFile] = field(default_factory=list)
    remove: list[RemoveAction] = field(default_factory=list)
    temporary: list[StagedFile] = field(default_factory=list)
    rows: int = 0
    work: Work | None = None
    days: tuple[date, ...] = ()


class CommitLost(Exception):
    """Another writer committed the version."""


@contextmanager
def store_errors(name: TableName) -> Iterator[None]:
    """Translate errors of the file system and of Delta into DiskFull and StoreUnreachable."""
    try:
        yield
    except (KaratError, CommitLost):
        raise
    except (OSError, DeltaError, ComputeError) as error:
        if is_disk_full(error):
            raise DiskFull(
                "no space is left on the lake's volume; the table is unchanged",
                where=str(name),
                remedy="free some space and run the same command again",
            ) from error
        if isinstance(error, ComputeError):
            raise
        raise StoreUnreachable(
            f"the lake cannot be read or written: {error}",
            where=str(name),
            remedy="check the path, its permissions and its volume",
        ) from error


def retry_conflicts(attempts: int) -> Retrying:
    """Run a function again after a CommitConflict, so that it plans on what the other writer committed.

    Args:
        attempts: Attempts in all; the last one's CommitConflict is raised.

    Returns:
        A callable that takes the function and its arguments.
    """
    return Retrying(retry=retry_if_exception_type(CommitConflict), stop=stop_after_attempt(attempts), reraise=True)


def commit_with_retries(
    name: TableName,
    open_table: Callable[[], tuple[DeltaTable, TableInfo]],
    plan_of: Callable[[DeltaTable, TableInfo], CommitPlan | Commit],
) -> Commit:
    """Plan a change on the newest version and commit it; plan again if another writer was faster.

    Args:
        name: The table.
        open_table: Opens its newest version.
        plan_of: Plans the change on that version, or returns a Commit if there is nothing to write.

    Returns:
        The outcome.

    Raises:
        CommitConflict: ``ATTEMPTS`` attempts lost to other writers.
        DiskFull: The lake's volume is full.
    """
    attempts = Retrying(
        retry=retry_if_exception_type(CommitLost),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.05, max=0.5),
    )
    try:
        return attempts(_plan_and_commit, open_table, plan_of)
    except RetryError as error:
        raise CommitConflict(
            f"{ATTEMPTS} attempts to commit lost to other writers",
            where=str(name),
            remedy="wait until the other writers are done, then run this again",
        ) from error


def _plan_and_commit(
    open_table: Callable[[], tuple[DeltaTable, TableInfo]],
    plan_of: Callable[[DeltaTable, TableInfo], CommitPlan | Commit],
) -> Commit:
    """One attempt. Raises CommitLost if another writer was faster."""
    table, info = open_table()
    with store_errors(info.name):
        plan = plan_of(table, info)
        if isinstance(plan, Commit):
            return plan
        try:
            return Commit(info.name, attempt_commit(table, info, plan), True, plan.rows, plan.days)
        except BaseException:
            discard(info.path, plan.temporary)
            raise


def attempt_commit(table: DeltaTable, info: TableInfo, plan: CommitPlan) -> int:
    """Commit a plan as the next version.

    Args:
        table: The version that was read.
        info: Its contract.
        plan: The change.

    Returns:
        The number of the new version.

    Raises:
        CommitLost: Another writer committed that version.
    """
    version, mark = table.version() + 1, uuid.uuid4().hex
    properties = commit_properties(version, mark, plan)
    try:
        table.create_write_transaction(
            [*plan.remove, *(_add_action(s) for s in plan.add)],
            "append",
            table.schema(),
            partition_by=list(info.partition_by),
            commit_properties=properties,
        )
    except (DeltaError, OSError) as error:
        resolve_failed_commit(info, version, mark, error)
    return version


def resolve_failed_commit(info: TableInfo, version: int, mark: str, error: Exception) -> None:
    """Return if the commit succeeded although Delta failed afterwards; else raise CommitLost or ``error``."""
    if log.log_path(info.path, version).exists():
        if log.commit_info(info.path, version).get("karat.commit") == mark:
            return
        raise CommitLost from error
    raise error


def commit_properties(version: int, mark: str, plan: CommitPlan | None = None) -> CommitProperties:
    """App transactions and metadata of one commit, without Delta's own retries: a lost commit is planned again."""
    transactions = [Transaction(APP, version)]
    metadata: dict[str, object] = {"karat.commit": mark}
    if plan is not None:
        metadata["karat.rows"] = plan.rows
        metadata["karat.days"] = [d.isoformat() for d in plan.days]
    if plan is not None and plan.work is not None:
        transactions.append(Transaction(f"{APP}.work.{plan.work.kind}", version))
        metadata["karat.work"] = {"kind": plan.work.kind, "key": plan.work.key, "detail": plan.work.detail}
    return CommitProperties(custom_metadata=metadata, app_transactions=transactions, max_commit_retries=0)


def _add_action(file: StagedFile) -> AddAction:
    return AddAction(file.path, file.size, file.partition, file.modified, True, file.statistics)
