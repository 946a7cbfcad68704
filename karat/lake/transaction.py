"""One commit at exactly the version after the one that was read, or none: optimistic, with the table's own app
transaction, so that of two writers the loser learns of it."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction
from polars.exceptions import ComputeError

from karat.errors import CommitConflict, DiskFull, KaratError, StoreUnreachable, is_disk_full
from karat.lake import log
from karat.lake.files import discard
from karat.lake.records import Commit, StagedFile, TableInfo, Work
from karat.names import TableName

ATTEMPTS = 30
#: The app id that every commit of Karat carries; a work kind's last commit stands under ``karat.work.KIND``.
APP = "karat"


@dataclass
class CommitPlan:
    """What one commit would do to the version that was read.

    ``temporary`` files exist for this attempt alone and are removed if it loses.
    """

    add: list[StagedFile] = field(default_factory=list)
    remove: list[RemoveAction] = field(default_factory=list)
    temporary: list[StagedFile] = field(default_factory=list)
    rows: int = 0
    work: Work | None = None
    days: tuple[Any, ...] = ()


class CommitLost(Exception):
    """Another writer took the version."""


@contextmanager
def storing(name: TableName) -> Iterator[None]:
    """What the file system and Delta raise, as errors a user can act on."""
    try:
        yield
    except (KaratError, CommitLost):
        raise
    except (OSError, DeltaError, ComputeError) as error:
        if is_disk_full(error):
            raise DiskFull(
                "no space is left on the lake's volume; the table stands as it was",
                where=str(name),
                remedy="free some space and run the same command again",
            ) from error
        if isinstance(error, ComputeError):
            raise
        raise StoreUnreachable(
            f"the lake can't be read or written: {error}",
            where=str(name),
            remedy="look at the path, its permissions and its volume",
        ) from error


def repeat(
    info: Callable[[], tuple[DeltaTable, TableInfo]], plan_of: Callable[[DeltaTable, TableInfo], CommitPlan | Commit]
) -> Commit:
    """Plans on the newest version and commits; who loses plans anew on what the winner left.

    Raises CommitConflict after ATTEMPTS losses.
    """
    for attempt in range(ATTEMPTS):
        table, contract = info()
        with storing(contract.name):
            plan = plan_of(table, contract)
            if isinstance(plan, Commit):
                return plan
            try:
                return Commit(contract.name, attempt_commit(table, contract, plan), True, plan.rows, plan.days)
            except BaseException as error:
                discard(contract.path, plan.temporary)
                if not isinstance(error, CommitLost):
                    raise
        time.sleep(random.uniform(0, 0.05 * min(attempt + 1, 10)))
    raise CommitConflict(
        f"{ATTEMPTS} attempts to commit lost to other writers",
        where=str(contract.name),
        remedy="let the other writers finish and run this again",
    )


def attempt_commit(table: DeltaTable, info: TableInfo, plan: CommitPlan) -> int:
    """Commits ``plan`` as the next version and gives its number; raises CommitLost where that version is taken."""
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
        settle(info, version, mark, error)
    return version


def settle(info: TableInfo, version: int, mark: str, error: Exception) -> None:
    """Decides what a failed commit was: ours after all (what follows a commit failed), lost, or a real error."""
    if log.log_path(info.path, version).exists():
        if log.commit_info(info.path, version).get("karat.commit") == mark:
            return
        raise CommitLost from error
    raise error


def commit_properties(version: int, mark: str, plan: CommitPlan | None = None) -> CommitProperties:
    """The app transactions and metadata of one commit; without retries of its own: ``repeat`` plans anew instead."""
    transactions = [Transaction(APP, version)]
    metadata: dict[str, Any] = {"karat.commit": mark}
    if plan is not None:
        metadata["karat.rows"] = plan.rows
        metadata["karat.days"] = [d.isoformat() for d in plan.days]
    if plan is not None and plan.work is not None:
        transactions.append(Transaction(f"{APP}.work.{plan.work.kind}", version))
        metadata["karat.work"] = {"kind": plan.work.kind, "key": plan.work.key, "detail": plan.work.detail}
    return CommitProperties(custom_metadata=metadata, app_transactions=transactions, max_commit_retries=0)


def _add_action(file: StagedFile) -> AddAction:
    return AddAction(file.path, file.size, file.partition, file.modified, True, file.statistics)
