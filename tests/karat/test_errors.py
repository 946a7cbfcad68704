"""The error tree: messages, pickling, the nearest name, the full disk."""

import errno
import inspect
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karat import errors
from karat.errors import LINE, DeclarationError, DiskFull, KaratError, TableNotFound, did_you_mean, is_disk_full

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, KaratError)]


def test_a_message_says_what_where_and_what_to_do():
    error = TableNotFound("no table 'a.b.c'", where="/lake/a/b/c", remedy="run the feature pipeline")
    assert str(error) == "no table 'a.b.c'\n  where: /lake/a/b/c\n  do: run the feature pipeline"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_errors_cross_process_borders(cls):
    error = cls("what", where="where", remedy="do")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert (again.what, again.where, again.remedy) == ("what", "where", "do")
    assert str(again) == str(error)


def test_a_declaration_error_keeps_its_list_across_processes():
    error = DeclarationError("two errors", errors=["a", "b"])
    again = pickle.loads(pickle.dumps(error))
    assert again.errors == ("a", "b")
    assert str(again) == "two errors\n  - a\n  - b"


def test_the_tree_at_the_head_of_the_module_is_the_tree():
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__))
    assert drawn == {c.__name__ for c in CLASSES} - {"KaratError"}


def test_the_nearest_name_is_suggested():
    assert did_you_mean("cost_feature", ["cost_features", "churn_features"]) == "Did you mean 'cost_features'?"
    assert did_you_mean("zzz", ["b", "a"]) == "Known: a, b."
    assert did_you_mean("zzz", []) == ""


def test_a_full_disk_is_recognised_through_its_causes():
    inner = OSError(errno.ENOSPC, "No space left on device")
    outer = RuntimeError("write failed")
    outer.__cause__ = inner
    assert is_disk_full(inner)
    assert is_disk_full(outer)
    assert is_disk_full(DiskFull("x")) is False
    assert is_disk_full(OSError(errno.EACCES, "denied")) is False


@given(st.text(max_size=2000), st.text(max_size=2000), st.text(max_size=2000))
def test_no_line_of_an_error_is_longer_than_the_limit(what: str, where: str, remedy: str) -> None:
    error = KaratError(what, where=where, remedy=remedy)
    assert all(len(line) <= LINE for text in (error.what, error.where, error.remedy) for line in text.split("\n"))
    assert "\n" not in error.where
    if len(what) <= LINE:
        assert error.what == what
    assert error.what[:100] == what[:100]


def test_a_cut_line_keeps_both_ends() -> None:
    error = KaratError(f"{'x' * 10_000!r} is not a whole number")
    assert error.what.startswith("'xxx")
    assert error.what.endswith("is not a whole number")
