"""Feature functions: features that the same code computes in training, batch scoring and online inference."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl
from pydantic import ValidationError

from karat.declare import DeclaredFunction, ModelSpec, load_functions
from karat.dtypes import POLARS
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
from karat.features.expressions import ExpressionPlace
from karat.features.schema import to_declared
from karat.kinds._encoder import dtype_of
from karat.names import project_of
from karat.settings import Settings
from karat.training_sets.pins import FunctionRecord


@dataclass(frozen=True)
class FeatureFunction:
    """A feature that a Python function computes from columns.

    Attributes:
        udf_name: A function that the project declares; ``catalog.schema.name`` names another project's.
        input_bindings: Maps the function's parameters to columns: the frame's own, looked-up features or outputs of
            earlier functions.
        output_name: The output's column; the function's name by default.
        function: A plain Python function to use instead of a declared one.
    """

    udf_name: str
    input_bindings: Mapping[str, str] = field(default_factory=dict)
    output_name: str | None = None
    function: Callable[..., object] | None = None

    @property
    def output(self) -> str:
        """The output's column."""
        return self.output_name or self.udf_name.rpartition(".")[2]


@dataclass(frozen=True)
class PinnedFunction:
    """A resolved FeatureFunction: what a model keeps instead of the function's code.

    Attributes:
        name: The function's name.
        project: The project that declares it; "" if it was given as a Python function.
        source_hash: Hash of its source.
        inputs: Maps parameters to columns.
        output: The output's column.
        types: The type of each input column in training.
        dtype: The output's type.
    """

    name: str
    project: str
    source_hash: str
    inputs: dict[str, str]
    output: str
    types: dict[str, str] = field(default_factory=dict)
    dtype: str = "float64"

    def as_json(self) -> FunctionRecord:
        """Return the record that a model keeps."""
        return {
            "name": self.name,
            "project": self.project,
            "source_hash": self.source_hash,
            "inputs": self.inputs,
            "output": self.output,
            "types": self.types,
            "dtype": self.dtype,
        }

    @classmethod
    def from_json(cls, record: FunctionRecord) -> PinnedFunction:
        """Read the record that a model keeps."""
        return cls(**record)


@dataclass(frozen=True)
class BoundFunction:
    """A pinned function with its code."""

    pinned: PinnedFunction
    declared: DeclaredFunction


class FunctionLibrary:
    """Code of feature functions by name: first the given ones, then those that projects declare."""

    def __init__(self, settings: Settings | None = None, given: Iterable[DeclaredFunction] = ()) -> None:
        self._settings = settings
        self._given = {f.name: f for f in given}
        self._declared: dict[str, dict[str, DeclaredFunction]] = {}

    def add(self, name: str, function: Callable[..., object]) -> DeclaredFunction:
        """Register a plain Python function under a name.

        Raises:
            WrongCall: It is no function, or it has no source to hash.
        """
        try:
            declared = DeclaredFunction(name=name, function=function, dtype=None)
        except (ValidationError, ValueError) as error:
            message = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            why = message.removeprefix("Value error, ")
            raise WrongCall(
                f"{name!r} is not a feature function: {why}",
                where="FeatureFunction(function=...)",
                remedy="give a function with named parameters, written in a file or a notebook cell",
            ) from error
        self._given[name] = declared
        return declared

    def find(self, project: str, name: str) -> DeclaredFunction:
        """Return a function.

        Raises:
            FunctionNotFound: There is none; the message has the nearest name.
        """
        if name in self._given:
            return self._given[name]
        known = self._project_functions(project) if project else {}
        if name in known:
            return known[name]
        raise FunctionNotFound(
            f"there is no feature function {name!r}",
            where=f"project {project!r}" if project else "it was given as a Python function; no project declares it",
            remedy=did_you_mean(name, {**known, **self._given})
            or "declare it under features/ with feature_function(...), or give function=",
        )

    def bind(self, pinned: PinnedFunction) -> BoundFunction:
        """Return a pinned function with the code that the model was trained with.

        Raises:
            FunctionNotFound: The function is gone.
            FunctionChanged: Its source is not the one of training.
        """
        declared = self.find(pinned.project, pinned.name)
        if declared.source_hash != pinned.source_hash:
            raise FunctionChanged(
                f"the feature function {pinned.name!r} has changed since the model was trained",
                where=f"source hash {declared.source_hash}, in the model {pinned.source_hash}",
                remedy="train the model again, or restore the function's source and give the new one a new name",
            )
        return BoundFunction(pinned, declared)

    def _project_functions(self, project: str) -> dict[str, DeclaredFunction]:
        if project not in self._declared:
            try:
                self._declared[project] = load_functions(project, self._settings)
            except UnknownProject:
                self._declared[project] = {}
        return self._declared[project]


def resolve_functions(
    uses: Sequence[FeatureFunction], library: FunctionLibrary, catalog: str | None
) -> list[BoundFunction]:
    """Check names and bindings and find the code; input types are not known yet.

    Raises:
        FunctionNotFound: There is no such function.
        WrongCall: A parameter is unknown or has no column.
    """
    return [_resolve_function(use, library, catalog) for use in uses]


def _resolve_function(use: FeatureFunction, library: FunctionLibrary, catalog: str | None) -> BoundFunction:
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
                f"the feature function has no parameter {parameter!r}",
                where=where,
                remedy=did_you_mean(parameter, declared.parameters),
            )
    unbound = [p for p, needed in declared.parameters.items() if needed and p not in use.input_bindings]
    if unbound:
        raise WrongCall(
            f"parameters without a column: {', '.join(unbound)}", where=where, remedy="bind each parameter to a column"
        )


def declared_functions(spec: ModelSpec) -> list[FeatureFunction]:
    """Return the functions of a declared model."""
    return [FeatureFunction(use.function, use.inputs, use.output_name) for use in spec.functions]


def check_inputs(functions: Sequence[PinnedFunction], columns: Sequence[str], where: str) -> None:
    """Check that every input is a column or the output of an earlier function.

    Raises:
        ColumnMissing: An input is neither; the message has the nearest name.
    """
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
    """Return the functions that compute the columns ``wanted``, in their order; ``given`` columns need no function."""
    asked = set(wanted)
    needed: list[PinnedFunction] = []
    for pinned in reversed(functions):
        if pinned.output in asked and pinned.output not in given:
            asked |= set(pinned.inputs.values())
            needed.append(pinned)
    return needed[::-1]


def with_input_types(bound: BoundFunction, frame: pl.DataFrame) -> BoundFunction:
    """Pin the input types of ``frame``.

    Raises:
        SchemaMismatch: A column's type is none that functions take.
    """
    inputs = dict.fromkeys(bound.pinned.inputs.values())
    types = {c: dtype_of(c, frame.schema[c]) for c in inputs}
    return replace(bound, pinned=replace(bound.pinned, types=types, dtype=bound.declared.dtype or ""))


def call_function(bound: BoundFunction, frame: pl.DataFrame) -> pl.Series:
    """Compute the output for every row of ``frame``; inputs are cast to the types of training.

    Args:
        bound: The function.
        frame: A frame with the function's input columns.

    Returns:
        The output, ``(rows,)``, in the pinned type.

    Raises:
        SchemaMismatch: An input's type is not the one of training.
        FeatureFunctionFailed: The function raised, or did not return one value per row.
    """
    pinned = bound.pinned
    inputs = {p: _cast_input(frame.get_column(c), pinned.types[c], pinned) for p, c in pinned.inputs.items()}
    try:
        made = bound.declared.function(**inputs)
    except Exception as error:  # whatever a user's function raises
        raise _function_error(pinned, f"it raised {type(error).__name__}: {error}") from error
    if not isinstance(made, pl.Series) or len(made) != frame.height:
        what = f"{len(made)} values" if isinstance(made, pl.Series) else f"a {type(made).__name__}"
        raise _function_error(pinned, f"it returned {what} for {frame.height} rows, not a Series of {frame.height}")
    try:
        dtype = pinned.dtype or dtype_of(pinned.output, made.dtype)
        return to_declared(made, dtype, ExpressionPlace(pinned.name)).alias(pinned.output)
    except KaratError as error:
        raise _function_error(pinned, error.what.partition(": ")[2] or error.what) from error


def _cast_input(column: pl.Series, dtype: str, pinned: PinnedFunction) -> pl.Series:
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
        f"the feature function {pinned.name!r} takes {wanted}, and the column {column.name!r} is {column.dtype}",
        where=f"in training it was {dtype}",
        remedy="cast the column",
    )


def _function_error(pinned: PinnedFunction, why: str) -> FeatureFunctionFailed:
    return FeatureFunctionFailed(
        f"the feature function {pinned.name!r} failed: {why}",
        where=", ".join(f"{p}={c} ({pinned.types.get(c, '?')})" for p, c in pinned.inputs.items()),
        remedy="correct it: it takes Polars Series and returns one value per row, null where there is none",
    )


def check_rowwise(bound: BoundFunction, frame: pl.DataFrame, made: pl.Series) -> None:
    """Check on the first, middle and last row that a row alone gives the same value as among all rows.

    Raises:
        FeatureFunctionFailed: The function looks at other rows.
    """
    for row in sorted({0, frame.height // 2, frame.height - 1}):
        alone = call_function(bound, frame.slice(row, 1))
        if not alone.eq_missing(made.slice(row, 1)).all():
            raise _function_error(
                bound.pinned,
                f"it is not computed row by row: row {row} gives {alone[0]!r} alone and {made[row]!r} among all rows",
            )


def compute_functions(functions: Sequence[BoundFunction], frame: pl.DataFrame) -> list[pl.Series]:
    """Compute the outputs in order; a function may read outputs of earlier ones."""
    made: list[pl.Series] = []
    for bound in functions:
        made.append(call_function(bound, frame))
        frame = frame.with_columns(made[-1])
    return made


def compute_and_pin(
    functions: Sequence[BoundFunction], frame: pl.DataFrame
) -> tuple[list[BoundFunction], list[pl.Series]]:
    """Compute the outputs for a training set, pin the types and check each function row by row.

    Returns:
        The functions with pinned types, and their outputs, each ``(rows,)``.
    """
    known: list[BoundFunction] = []
    made: list[pl.Series] = []
    for function in functions:
        bound = with_input_types(function, frame)
        made.append(call_function(bound, frame))
        pinned = replace(bound.pinned, dtype=dtype_of(made[-1].name, made[-1].dtype))
        known.append(replace(bound, pinned=pinned))
        check_rowwise(known[-1], frame, made[-1])
        frame = frame.with_columns(made[-1])
    return known, made
