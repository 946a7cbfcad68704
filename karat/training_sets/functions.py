"""FeatureFunction: a feature computed from columns, by the same code in training, in batch and online."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import polars as pl
from pydantic import ValidationError

from karat.declare import DeclaredFunction, ModelSpec, load_functions
from karat.errors import (
    ColumnMissing,
    FeatureFunctionFailed,
    FunctionChanged,
    FunctionNotFound,
    KaratError,
    SchemaMismatch,
    UnknownProject,
    WrongCall,
    did_you_mean,
)
from karat.features.expressions import Place
from karat.features.schema import POLARS, to_declared
from karat.kinds._encoder import dtype_of
from karat.names import project_of
from karat.settings import Settings


@dataclass(frozen=True)
class FeatureFunction:
    """A feature that ``udf_name`` computes; ``input_bindings`` maps its parameters to columns.

    The columns may be the frame's own, looked-up features, or outputs of functions before it. ``udf_name`` is that of
    a function which the project declares (``catalog.schema.name`` names another project's), unless ``function`` gives
    a plain Python function. The output is named ``output_name``, or after the function.
    """

    udf_name: str
    input_bindings: Mapping[str, str] = field(default_factory=dict)
    output_name: str | None = None
    function: Callable[..., Any] | None = None

    @property
    def output(self) -> str:
        return self.output_name or self.udf_name.rpartition(".")[2]


@dataclass(frozen=True)
class PinnedFunction:
    """A FeatureFunction as it was resolved: what a model keeps instead of its code.

    ``project`` is that which declares it, "" where it was given. ``inputs`` maps parameters to columns, ``types``
    these columns to the types with which the function was called; ``dtype`` is the type of what it gives.
    """

    name: str
    project: str
    source_hash: str
    inputs: dict[str, str]
    output: str
    types: dict[str, str] = field(default_factory=dict)
    dtype: str = "float64"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> PinnedFunction:
        return cls(**record)


@dataclass(frozen=True)
class BoundFunction:
    """A pinned function with its code."""

    pinned: PinnedFunction
    declared: DeclaredFunction


class FunctionLibrary:
    """Where the code of feature functions is found: given ones by name, then those that projects declare."""

    def __init__(self, settings: Settings | None = None, given: Iterable[DeclaredFunction] = ()) -> None:
        self._settings = settings
        self._given = {f.name: f for f in given}
        self._declared: dict[str, dict[str, DeclaredFunction]] = {}

    def add(self, name: str, function: Callable[..., Any]) -> DeclaredFunction:
        """Takes a plain function under a name. Raises WrongCall for what is none, or has no source to be hashed."""
        try:
            declared = DeclaredFunction(name=name, function=function, dtype=None)
        except (ValidationError, ValueError) as error:
            told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            why = told.removeprefix("Value error, ")
            raise WrongCall(f"{name!r} is no feature function: {why}", where="FeatureFunction(function=...)") from error
        self._given[name] = declared
        return declared

    def find(self, project: str, name: str) -> DeclaredFunction:
        """Raises FunctionNotFound with the nearest name."""
        if name in self._given:
            return self._given[name]
        known = self._of(project) if project else {}
        if name in known:
            return known[name]
        raise FunctionNotFound(
            f"there is no feature function {name!r}",
            where=f"project {project!r}" if project else "no project declares it: it was given as a Python function",
            remedy=did_you_mean(name, {**known, **self._given})
            or "declare it under features/ with feature_function(...), or give function=",
        )

    def bind(self, pinned: PinnedFunction) -> BoundFunction:
        """The code with which the model was trained. Raises FunctionNotFound, FunctionChanged."""
        declared = self.find(pinned.project, pinned.name)
        if declared.source_hash != pinned.source_hash:
            raise FunctionChanged(
                f"the feature function {pinned.name!r} is another than the one the model was trained with",
                where=f"source hash {declared.source_hash}, in the model {pinned.source_hash}",
                remedy="train the model again, or bring the function's source back and give new meanings new names",
            )
        return BoundFunction(pinned, declared)

    def _of(self, project: str) -> dict[str, DeclaredFunction]:
        if project not in self._declared:
            try:
                self._declared[project] = load_functions(project, self._settings)
            except UnknownProject:
                self._declared[project] = {}
        return self._declared[project]


def resolve(uses: Sequence[FeatureFunction], library: FunctionLibrary, catalog: str | None) -> list[BoundFunction]:
    """Names and bindings checked; types are not known yet. Raises FunctionNotFound, WrongCall."""
    return [_resolved(use, library, catalog) for use in uses]


def _resolved(use: FeatureFunction, library: FunctionLibrary, catalog: str | None) -> BoundFunction:
    *above, name = use.udf_name.split(".")
    home = above[0] if len(above) == 2 else catalog
    if use.function is not None:
        declared, project = library.add(name, use.function), ""
    else:
        project = project_of(home) if home else ""
        declared = library.find(project, name)
    _check_bindings(use, declared)
    return BoundFunction(
        PinnedFunction(name, project, declared.source_hash, dict(use.input_bindings), use.output), declared
    )


def _check_bindings(use: FeatureFunction, declared: DeclaredFunction) -> None:
    where = f"FeatureFunction({use.udf_name!r}, input_bindings=...)"
    for parameter in use.input_bindings:
        if parameter not in declared.parameters:
            raise WrongCall(
                f"the function has no parameter {parameter!r}",
                where=where,
                remedy=did_you_mean(parameter, declared.parameters),
            )
    unbound = [p for p, needed in declared.parameters.items() if needed and p not in use.input_bindings]
    if unbound:
        raise WrongCall(
            f"no column is bound to {', '.join(unbound)}", where=where, remedy="bind each parameter to a column"
        )


def functions_of(spec: ModelSpec) -> list[FeatureFunction]:
    """A declared model's functions."""
    return [FeatureFunction(use.function, use.inputs, use.output_name) for use in spec.functions]


def check_inputs(functions: Sequence[PinnedFunction], columns: Sequence[str], where: str) -> None:
    """Every input is a column, or the output of a function before. Raises ColumnMissing with the nearest name."""
    known = list(columns)
    for pinned in functions:
        for parameter, column in pinned.inputs.items():
            if column not in known:
                raise ColumnMissing(
                    f"the feature function {pinned.name!r} needs the column {column!r} for its {parameter!r}",
                    where=where,
                    remedy=did_you_mean(column, known),
                )
        known.append(pinned.output)


def needed_functions(
    functions: Sequence[PinnedFunction], wanted: Iterable[str], given: Collection[str] = ()
) -> list[PinnedFunction]:
    """Those that must be called so that the columns ``wanted`` are there, in their order; what is ``given`` need not
    be computed."""
    asked = set(wanted)
    needed: list[PinnedFunction] = []
    for pinned in reversed(functions):
        if pinned.output in asked and pinned.output not in given:
            asked |= set(pinned.inputs.values())
            needed.append(pinned)
    return needed[::-1]


def typed(bound: BoundFunction, frame: pl.DataFrame) -> BoundFunction:
    """With the types of its inputs as ``frame`` has them. Raises SchemaMismatch for what no function takes."""
    inputs = dict.fromkeys(bound.pinned.inputs.values())
    types = {c: dtype_of(c, frame.schema[c]) for c in inputs}
    return replace(bound, pinned=replace(bound.pinned, types=types, dtype=bound.declared.dtype or ""))


def call(bound: BoundFunction, frame: pl.DataFrame) -> pl.Series:
    """The output for every row of ``frame``, whose inputs are brought to the types of training.

    Raises SchemaMismatch for an input of another type, FeatureFunctionFailed.
    """
    pinned = bound.pinned
    inputs = {p: _input(frame.get_column(c), pinned.types[c], pinned) for p, c in pinned.inputs.items()}
    try:
        made = bound.declared.function(**inputs)
    except Exception as error:  # whatever a user's function raises
        raise _failed(pinned, f"it raised {type(error).__name__}: {error}") from error
    if not isinstance(made, pl.Series) or len(made) != frame.height:
        what = f"{len(made)} values" if isinstance(made, pl.Series) else f"a {type(made).__name__}"
        raise _failed(pinned, f"for {frame.height} rows it gave {what}, not a Series of as many")
    try:
        dtype = pinned.dtype or dtype_of(pinned.output, made.dtype)
        return to_declared(made, dtype, Place(pinned.name)).alias(pinned.output)
    except KaratError as error:
        raise _failed(pinned, error.what.partition(": ")[2] or error.what) from error


def _input(column: pl.Series, dtype: str, pinned: PinnedFunction) -> pl.Series:
    wanted = POLARS[dtype]
    if column.dtype == wanted:
        return column
    given = "" if column.dtype == pl.Null else dtype_of(column.name, column.dtype)
    if given in ("", dtype):
        return column.cast(wanted)  # another width, unit or zone, or nothing but nulls
    if column.dtype.is_numeric() and wanted.is_numeric():
        known = column.fill_nan(None) if column.dtype.is_float() else column
        cast = known.cast(wanted, strict=False)
        if (cast.cast(known.dtype) == known).all() and cast.null_count() == known.null_count():
            return cast
    raise SchemaMismatch(
        f"the column {column.name!r} is {column.dtype}, and the feature function {pinned.name!r} takes {wanted}",
        where=f"in training it was {dtype}",
        remedy="cast the column",
    )


def _failed(pinned: PinnedFunction, why: str) -> FeatureFunctionFailed:
    return FeatureFunctionFailed(
        f"the feature function {pinned.name!r} failed: {why}",
        where=", ".join(f"{p}={c} ({pinned.types.get(c, '?')})" for p, c in pinned.inputs.items()),
        remedy="mend it; it takes Polars Series and gives one value a row, null where there is none",
    )


def check_rows(bound: BoundFunction, frame: pl.DataFrame, made: pl.Series) -> None:
    """Row by row means: a row alone gives what it gave among the others. Tried on the first, a middle and the last."""
    for row in sorted({0, frame.height // 2, frame.height - 1}):
        alone = call(bound, frame.slice(row, 1))
        if not alone.eq_missing(made.slice(row, 1)).all():
            raise _failed(
                bound.pinned,
                f"row {row} alone gives {alone[0]!r}, among all rows {made[row]!r}: it is not computed row by row",
            )


def compute(functions: Sequence[BoundFunction], frame: pl.DataFrame) -> list[pl.Series]:
    """The outputs in order; a function may read those before it."""
    made: list[pl.Series] = []
    for bound in functions:
        made.append(call(bound, frame))
        frame = frame.with_columns(made[-1])
    return made


def learn(functions: Sequence[BoundFunction], frame: pl.DataFrame) -> tuple[list[BoundFunction], list[pl.Series]]:
    """As ``compute``, for a training set: the types are pinned, and each function is tried row by row."""
    known: list[BoundFunction] = []
    made: list[pl.Series] = []
    for function in functions:
        bound = typed(function, frame)
        made.append(call(bound, frame))
        pinned = replace(bound.pinned, dtype=dtype_of(made[-1].name, made[-1].dtype))
        known.append(replace(bound, pinned=pinned))
        check_rows(known[-1], frame, made[-1])
        frame = frame.with_columns(made[-1])
    return known, made
