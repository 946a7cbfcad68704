"""Loads a project from its folder and reports all errors of its declarations at once."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import polars as pl
import yaml
from pydantic import ValidationError

from karat.declare.base import FieldErrors
from karat.declare.batch_tables import problems_of
from karat.declare.checks import attached
from karat.declare.declarations import Declarations
from karat.declare.feature_tables import FeatureTable
from karat.declare.functions import DeclaredFunction
from karat.declare.gold import GoldTable
from karat.declare.models import UNSUPERVISED, FunctionUse, Lookup, ModelSpec
from karat.declare.project import Project, ProjectSpec, Sample, gold_files
from karat.declare.python_files import ROOT, line_of, run_file
from karat.errors import DeclarationError, UnknownProject, did_you_mean
from karat.kinds import check_declared
from karat.settings import ENVIRONMENTS, Settings

T = TypeVar("T")
_CALLED: dict[type, str] = {
    GoldTable: "gold table",
    FeatureTable: "feature table",
    DeclaredFunction: "feature function",
}


def project_names(settings: Settings) -> tuple[str, ...]:
    """The folders under ``settings.projects`` that hold a ``project.yaml``, sorted."""
    if not settings.projects.is_dir():
        return ()
    return tuple(sorted(p.parent.name for p in settings.projects.glob("*/project.yaml")))


def load_project(name: str, settings: Settings | None = None) -> Project:
    """Reads ``projects/NAME``. Raises UnknownProject, or DeclarationError with every error found."""
    settings = settings or Settings()
    path = _folder(name, settings)
    errors: list[str] = []
    spec = _project_spec(path / "project.yaml", settings.environment, errors)
    gold, sample = _gold(gold_files(path), name, errors)
    tables, functions = _features(path / "features", name, errors)
    models = _models(path / "models", errors)
    errors.extend(_cross_check(path, gold, tables, functions, models))
    errors.extend(_check_sets(path / "project.yaml", spec, tables) if spec else ())
    if spec and models.whole and tables.whole:  # these say of a name that is not there that there is none
        errors.extend(_check_batch_tables(path / "project.yaml", spec, models, tables))
    if errors or spec is None:
        raise _wrong(name, path, errors)
    return Project(name, path, settings.environment, spec, gold, tables, models, sample, functions)


def load_functions(name: str, settings: Settings | None = None) -> dict[str, DeclaredFunction]:
    """The feature functions that a project declares, whatever else is wrong with it.

    Raises UnknownProject, and DeclarationError where a file under ``features`` can't be read.
    """
    settings = settings or Settings()
    path = _folder(name, settings)
    errors: list[str] = []
    _, functions = _features(path / "features", name, errors)
    if errors:
        raise _wrong(name, path, errors)
    return functions


def _folder(name: str, settings: Settings) -> Path:
    if name not in project_names(settings):
        raise UnknownProject(
            f"there is no project {name!r}",
            where=str(settings.projects),
            remedy=did_you_mean(name, project_names(settings))
            or "set KARAT_PROJECTS to the folder that holds your projects",
        )
    return settings.projects / name


def _wrong(name: str, path: Path, errors: list[str]) -> DeclarationError:
    count = f"{len(errors)} error{'s' if len(errors) != 1 else ''}"
    return DeclarationError(
        f"the declarations of project {name!r} have {count}",
        where=str(path),
        remedy=f"mend them and look again with: karat check {name}",
        errors=errors,
    )


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` laid on ``base``; a mapping meets a mapping field by field."""
    out = dict(base)
    for key, value in over.items():
        kept = out.get(key)
        out[key] = _merge(kept, value) if isinstance(kept, dict) and isinstance(value, dict) else value
    return out


def _project_spec(path: Path, environment: str, errors: list[str]) -> ProjectSpec | None:
    data = _yaml(path, errors)
    if data is None:
        return None
    base = _validated(ProjectSpec, data, path, errors)
    own = data.get("environments")
    for name, over in own.items() if isinstance(own, dict) else ():
        errors.extend(_environment_problems(path, data, str(name), over))
    if errors:
        made: ProjectSpec | None = base
        return made
    return ProjectSpec.model_validate(_merge(data, (own or {}).get(environment, {})))


def _environment_problems(path: Path, data: dict[str, Any], name: str, over: Any) -> Iterator[str]:
    """What an environment says otherwise must be as right as what it replaces, whichever of them is used now."""
    at: tuple[Any, ...] = ("environments", name)
    if name not in ENVIRONMENTS:
        near = did_you_mean(name, ENVIRONMENTS)
        yield f"{_short(path)}:{_line_of(path, at)}: environments: there is no {name!r}. {near}"
    elif isinstance(over, dict):
        everywhere = _problems(ProjectSpec, data)
        for loc, text in _problems(ProjectSpec, _merge(data, over)):
            place = (*at, *loc)
            if (loc, text) in everywhere:
                continue
            yield f"{_short(path)}:{_line_of(path, place)}: {'.'.join(map(str, place))}: {text}"


def _yaml(path: Path, errors: list[str]) -> dict[str, Any] | None:
    try:
        node, data = _parsed(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        errors.append(f"{_short(path)}{f':{mark.line + 1}' if mark else ''}: {getattr(error, 'problem', error)}")
        return None
    if not isinstance(data, dict):
        errors.append(f"{_short(path)}: expected a mapping of fields, found {type(data).__name__}")
        return None
    errors.extend(f"{_short(path)}:{line}: {told}" for line, told in _twice(node))
    return data


def _parsed(text: str) -> tuple[yaml.Node | None, Any]:
    """YAML's nodes, which know their lines, and what they mean. By libyaml, which PyYAML's wheels bring along: a
    project of 25 models takes twenty times as long in Python."""
    loader = yaml.CSafeLoader(text)
    try:
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    except yaml.YAMLError:  # the Python parser says better what is wrong, and where
        return yaml.compose(text), yaml.safe_load(text)
    finally:
        loader.dispose()


def _twice(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """The fields that stand twice in a mapping, of which YAML would take the last without a word."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _twice(item)
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in first:
                yield line, f"{key.value}: it stands on line {first[key.value]} too. Write it once."
            first.setdefault(key.value, line)
            yield from _twice(value)


def _short(path: Path) -> str:
    """The path from the project's folder on, as people write it."""
    parts = path.parts
    return str(Path(*parts[parts.index("projects") + 1 :])) if "projects" in parts else str(path)


def _validated(cls: type[Any], data: dict[str, Any], path: Path, errors: list[str]) -> Any:
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        for loc, text in _told(cls, error):
            field = ".".join(str(p) for p in loc)
            errors.append(f"{_short(path)}:{_line_of(path, loc)}: {field + ': ' if field else ''}{text}")
        return _validated_rest(cls, data, [p["loc"] for p in error.errors()], path, errors)


def _problems(cls: type[Any], data: dict[str, Any]) -> list[tuple[tuple[Any, ...], str]]:
    try:
        cls.model_validate(data)
    except ValidationError as error:
        return [*_told(cls, error)]
    return []


def _told(cls: type[Any], error: ValidationError) -> Iterator[tuple[tuple[Any, ...], str]]:
    """(place, text) of each of Pydantic's errors."""
    for problem in _each(error):
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"unknown field. {did_you_mean(str(problem['loc'][-1]), _fields_at(cls, problem['loc'][:-1]))}"
        yield problem["loc"], message


def _validated_rest(
    cls: type[Any], data: dict[str, Any], wrong: list[tuple[Any, ...]], path: Path, errors: list[str]
) -> Any:
    """The record without its wrong fields, so that what else is wrong with it is told at once; None where it needs
    them. What it says a second time is left out."""
    rest = copy.deepcopy(data)
    for loc in wrong:
        _drop(rest, loc)
    if rest == data:
        return None
    try:
        return cls.model_validate(rest)
    except ValidationError as error:
        told = {loc[0] for loc in wrong}
        between = [p for p in _each(error) if p["loc"] and p["loc"][0] not in told and _is_between(p)]
        errors.extend(
            f"{_short(path)}:{_line_of(path, p['loc'])}: {'.'.join(map(str, p['loc']))}: {p['msg']}" for p in between
        )
        return None


def _is_between(problem: dict[str, Any]) -> bool:
    """Whether it is of fields that do not go together."""
    return isinstance(problem.get("ctx", {}).get("error"), FieldErrors)


def _drop(data: Any, loc: tuple[Any, ...]) -> None:
    """Takes the deepest field out of ``data`` that stands on the way to ``loc``; places in lists stay."""
    holder, field = None, None
    for part in loc:
        if isinstance(data, dict) and part in data:
            holder, field, data = data, part, data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            break
    if holder is not None:
        holder.pop(field)


def _each(error: ValidationError) -> Iterator[dict[str, Any]]:
    """Pydantic's errors, each at its own field: one that lies between fields says itself where it stands."""
    for problem in error.errors():
        raised = problem.get("ctx", {}).get("error")
        if isinstance(raised, FieldErrors):
            for loc, text in raised.found:
                yield {**problem, "loc": (*problem["loc"], *loc), "msg": text}
        else:
            yield {**problem}


def _fields_at(cls: type[Any], loc: tuple[Any, ...]) -> list[str]:
    """The names of the fields of the record that ``loc`` leads to, for "did you mean"."""
    for part in loc:
        found = getattr(cls, "model_fields", {}).get(part)
        if found is not None:
            args = getattr(found.annotation, "__args__", ())
            cls = next((a for a in (found.annotation, *args) if hasattr(a, "model_fields")), cls)
    return list(getattr(cls, "model_fields", {}))


def _line_of(path: Path, loc: tuple[Any, ...]) -> int:
    """The 1-based line of the YAML node at ``loc``, or of its nearest parent that stands in the file."""
    node, _ = _parsed(path.read_text())
    line = 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _module(path: Path, project: str, errors: list[str], broken: set[str]) -> ModuleType | None:
    """Imports a declaration file by its path, under a name of its own, so that projects may live anywhere. ``broken``
    are the modules of which something is missing."""
    name = f"{ROOT}.{project}.{path.stem}"
    ran = run_file(path, name, broken=broken)
    errors.extend(f"{_short(path)}:{line}: {text}" for line, text in ran.errors)
    if not ran.whole:
        broken.add(name)
    return ran.module


def _gold(paths: Sequence[Path], project: str, errors: list[str]) -> tuple[Declarations[GoldTable], Sample | None]:
    """The gold tables of all files, and their samples as one.

    A file whose name begins with ``_`` is what the others share: it sorts first, and they import it as
    ``karat_projects.PROJECT.gold._NAME``."""
    found: Declarations[GoldTable] = Declarations()
    samples: list[tuple[frozenset[str], Sample]] = []
    broken: set[str] = set()
    for path in paths:
        before = len(broken)
        module = _module(path, project if path.name == "gold.py" else f"{project}.gold", errors, broken)
        tables = _declared_in(module, GoldTable, path, found, errors)
        if not tables and not path.name.startswith("_") and len(broken) == before:
            errors.append(f"{_short(path)}: declares no GoldTable")
        if module is not None and hasattr(module, "sample"):
            samples.append((frozenset(table.name for table in tables), module.sample))
    found.whole = not broken
    return found, _together(samples) if samples else None


def _declared_in(
    module: ModuleType | None, cls: type[T], path: Path, found: Declarations[T], errors: list[str]
) -> list[T]:
    """What a file declares of one class, taken into ``found``."""
    own = {variable: value for variable, value in vars(module).items() if isinstance(value, cls)} if module else {}
    for variable, value in own.items():
        name: str = value.name  # type: ignore[attr-defined]
        if name in found and value is not found[name]:
            line = line_of(path, variable, name)
            errors.append(f"{_short(path)}:{line}: the {_CALLED[cls]} {name!r} is declared twice")
        found[name] = value
        found.places.setdefault(name, (path, variable))  # another file may import it
    return [*own.values()]


def _together(samples: Sequence[tuple[frozenset[str], Sample]]) -> Sample:
    """The generators of all files as one. With ``tables`` those are asked whose files declare one of these, the others
    only for what is still missing then; a generator that takes ``tables`` itself is told them."""

    def sample(*, tables: Collection[str] | None = None, **how: Any) -> dict[str, pl.DataFrame]:
        frames: dict[str, pl.DataFrame] = {}
        # Stable: the generators of files that declare what is wanted come first, each of them in its order.
        for declared, one in sorted(samples, key=lambda pair: pair[0].isdisjoint(tables or ())):
            if tables is None or not declared.isdisjoint(tables) or not frames.keys() >= set(tables):
                chosen = {"tables": tables} if "tables" in inspect.signature(one).parameters else {}
                frames.update(one(**how, **chosen))
        return frames

    return sample


def _features(
    folder: Path, project: str, errors: list[str]
) -> tuple[Declarations[FeatureTable], Declarations[DeclaredFunction]]:
    """The feature tables and feature functions of all files, by name."""
    tables: Declarations[FeatureTable] = Declarations()
    functions: Declarations[DeclaredFunction] = Declarations()
    broken: set[str] = set()
    for path in sorted(folder.glob("*.py")):
        module = _module(path, f"{project}.features", errors, broken)
        _declared_in(module, FeatureTable, path, tables, errors)
        _declared_in(module, DeclaredFunction, path, functions, errors)
    tables.whole = functions.whole = not broken
    return tables, functions


def _models(folder: Path, errors: list[str]) -> Declarations[ModelSpec]:
    found: Declarations[ModelSpec] = Declarations()
    for path in sorted(folder.rglob("*.yaml")):
        data = _yaml(path, errors)
        if data is None:
            found.whole = False
            continue
        domain = path.parent.name if path.parent != folder else ""
        spec = _validated(ModelSpec, {**data, "name": path.stem, "domain": domain}, path, errors)
        if path.stem in found:
            errors.append(f"{_short(path)}: the model {path.stem!r} is declared twice")
        found.whole &= spec is not None
        if spec is not None:
            found[path.stem] = spec
            sequences = any(lookup.sequence_length for lookup in spec.lookups)
            declared = check_declared(spec.kind, spec.task, spec.parameters, sequences=sequences)
            for loc, text in (*declared, *_check_search(spec)):
                errors.append(f"{_short(path)}:{_line_of(path, loc)}: {'.'.join(loc)}: {text}")
    return found


def _check_search(spec: ModelSpec) -> Iterator[tuple[tuple[str, ...], str]]:
    """A space is checked as a parameter is, by its choices or its ends."""
    for name, space in spec.search.items():
        problems = [p for value in space.ends for p in check_declared(spec.kind, spec.task, {name: value})]
        own = dict.fromkeys(text for loc, text in problems if loc[0] == "parameters")
        yield from ((("search", name), text) for text in own)


def _cross_check(
    path: Path,
    gold: Declarations[GoldTable],
    tables: Declarations[FeatureTable],
    functions: Declarations[DeclaredFunction],
    models: Declarations[ModelSpec],
) -> Iterator[str]:
    """Every name that a declaration uses must be declared. What could not be read is no reason to keep silent about the
    rest, nor to say of a name in it that there is none."""
    for table in tables.values():
        for word, problem in _table_problems(table, gold):
            yield f"{_short(tables.places[table.name][0])}:{tables.line_of(table.name, word)}: {table.name}: {problem}"
    for model in models.values():
        where = next(iter(path.glob(f"models/**/{model.name}.yaml")))
        yield from _check_model(where, model, gold, tables)
        yield from _check_functions(where, model, functions, tables)


def _table_problems(table: FeatureTable, gold: Declarations[GoldTable]) -> Iterator[tuple[str, str]]:
    """(the word that is wrong, the text) of each name that gold does not have."""
    source = gold.get(table.source)
    if source is None:
        if gold.lacks(table.source):
            yield table.source, f"there is no gold table {table.source!r}. {did_you_mean(table.source, gold)}"
        return
    for column in (*table.entity, *table.gold_time_columns):
        if column not in source.columns:
            near = did_you_mean(column, source.columns)
            yield column, f"gold table {source.name!r} has no column {column!r}. {near}"
    yield from table.source_problems(source)
    yield from _check_keys(table, source)


def _check_sets(path: Path, spec: ProjectSpec, tables: Declarations[FeatureTable]) -> Iterator[str]:
    """The tables of a feature set are declared, and of the same entities."""
    for name, members in spec.feature_sets.items():
        place = f"{_short(path)}:{_line_of(path, ('feature_sets', name))}: feature_sets.{name}"
        for member in members:
            if tables.lacks(member):
                yield f"{place}: there is no feature table {member!r}. {did_you_mean(member, tables)}"
        keys = {m: ", ".join(tables[m].entity) for m in members if m in tables}
        if len(set(keys.values())) > 1:
            told = "; ".join(f"{member} by {key}" for member, key in keys.items())
            yield f"{place}: its tables are not of the same entities: {told}"


def _check_batch_tables(
    path: Path, spec: ProjectSpec, models: dict[str, ModelSpec], tables: dict[str, FeatureTable]
) -> Iterator[str]:
    for name, table in spec.batch_tables.items():
        for loc, problem in problems_of(name, table, models, tables):
            place = ("batch_tables", name, *loc)
            yield f"{_short(path)}:{_line_of(path, place)}: {'.'.join(map(str, place))}: {problem}"


def _check_keys(table: FeatureTable, source: GoldTable) -> Iterator[tuple[str, str]]:
    """Checks that read key columns, whose types only gold has."""
    dtypes: dict[str, str | None] = {f.name: f.dtype for f in table.stored}
    dtypes |= {k: source.columns[k].dtype if k in source.columns else None for k in table.primary_key}
    try:
        attached(table.checks, f"feature table {table.name!r}", dtypes, table.time, gold=False)
    except ValueError as error:
        yield table.name, str(error)


def _check_model(
    path: Path, model: ModelSpec, gold: Declarations[GoldTable], tables: Declarations[FeatureTable]
) -> Iterator[str]:
    def at(*loc: Any) -> str:
        return f"{_short(path)}:{_line_of(path, loc)}"

    if model.label is not None and gold.lacks(model.label.source):
        near = did_you_mean(model.label.source, gold)
        yield f"{at('label', 'source')}: there is no gold table {model.label.source!r}. {near}"
    for index, lookup in enumerate(model.lookups):
        table = tables.get(lookup.table)
        if table is None:
            if tables.lacks(lookup.table):
                near = did_you_mean(lookup.table, tables)
                yield f"{at('lookups', index, 'table')}: there is no feature table {lookup.table!r}. {near}"
            continue
        known = [f.name for f in table.stored]
        named = () if lookup.features == "*" else lookup.features
        for kind, names in (("features", named), ("exclude", lookup.exclude)):
            for name in names:
                if name not in known:
                    near = did_you_mean(name, known)
                    yield f"{at('lookups', index, kind)}: {lookup.table!r} has no feature {name!r}. {near}"
    spine = tables.get(model.spine_table)
    if model.spine and tables.lacks(model.spine):
        yield f"{at('spine')}: there is no feature table {model.spine!r}. {did_you_mean(model.spine, tables)}"
    if model.label is not None and spine is not None:
        supervised = model.task not in UNSUPERVISED
        for loc, problem in spine.label_problems(model.label, supervised=supervised):
            yield f"{at(*loc)}: {problem}"
    yield from _check_truth(model, gold, at)
    if not {k.table for k in model.lookups} <= set(tables):
        return  # what these hold nobody knows
    yield from _check_protected(model, tables, at)
    if model.baseline.feature and spine is not None:
        known = [name for lookup in model.lookups for name in _looked_up(lookup, tables.get(lookup.table))]
        if model.baseline.feature not in known:
            near = did_you_mean(model.baseline.feature, known)
            yield f"{at('baseline', 'feature')}: the lookups bring no feature {model.baseline.feature!r}. {near}"


def _check_truth(model: ModelSpec, gold: Declarations[GoldTable], at: Callable[..., str]) -> Iterator[str]:
    if model.truth is None:
        return
    source = model.truth.source
    if gold.lacks(source):
        near = did_you_mean(source, [n for n, t in gold.items() if t.truth])
        yield f"{at('truth', 'source')}: there is no gold table {source!r}. {near}"
    elif source in gold and not gold[source].truth:
        yield f"{at('truth', 'source')}: gold table {source!r} is not declared with truth=True, so features may read it"
    # The classes of a multiclass label are only known from its rows.
    parts = model.label.parts if model.label else {}
    named = model.truth.expressions
    for name in (p for p in parts if named and p not in named):
        yield f"{at('truth', 'expressions')}: there is none for {name!r} of the label. It has {', '.join(named)}"
    for name in (n for n in named if parts and n not in parts):
        yield f"{at('truth', 'expressions', name)}: the label has no part {name!r}. {did_you_mean(name, parts)}"


def _check_protected(model: ModelSpec, tables: dict[str, FeatureTable], at: Callable[..., str]) -> Iterator[str]:
    """Groups are told by what the lookups' tables hold, or by the rows' own keys."""
    read = [tables[n] for n in (model.spine_table, *(k.table for k in model.lookups)) if n in tables]
    known = [c for table in read for c in (*table.primary_key, *(f.name for f in table.stored))]
    for index, column in enumerate(model.protected):
        if column not in known:
            near = did_you_mean(column, known)
            yield f"{at('protected', index)}: no table that the model looks up holds a column {column!r}. {near}"


def _check_functions(
    path: Path, model: ModelSpec, functions: Declarations[DeclaredFunction], tables: Declarations[FeatureTable]
) -> Iterator[str]:
    """Functions that are declared, all their parameters bound, to columns that are there by then."""
    spine = tables.get(model.spine_table)
    known = [
        *(spine.primary_key if spine else ()),
        *(n for k in model.lookups for n in _looked_up(k, tables.get(k.table))),
    ]
    whole = {k.table for k in model.lookups} <= set(tables)
    for index, use in enumerate(model.functions):
        line = _line_of(path, ("functions", index))
        for problem in _problems_of(use, functions, known if whole else None):
            yield f"{_short(path)}:{line}: functions.{index}: {problem}"
        known.append(use.output_name)


def _problems_of(use: FunctionUse, functions: Declarations[DeclaredFunction], known: list[str] | None) -> Iterator[str]:
    """``known``: the columns that are there by then; None where nobody can say."""
    declared = functions.get(use.function)
    if functions.lacks(use.function):
        near = did_you_mean(use.function, functions) or "Declare it under features/ with feature_function(...)."
        yield f"there is no feature function {use.function!r}. {near}"
    if declared is not None:
        for parameter in use.inputs:
            if parameter not in declared.parameters:
                near = did_you_mean(parameter, declared.parameters)
                yield f"{use.function!r} has no parameter {parameter!r}. {near}"
        unbound = [p for p, needed in declared.parameters.items() if needed and p not in use.inputs]
        if unbound:
            yield f"the inputs of {use.function!r} do not bind {', '.join(unbound)}"
    if known is None:
        return
    for column in use.inputs.values():
        if column not in known:
            yield f"neither lookups nor keys bring a column {column!r}. {did_you_mean(column, known)}"
    if use.output_name in known:
        yield f"the output {use.output_name!r} is a column already; name another with 'output'"


def _looked_up(lookup: Lookup, table: FeatureTable | None) -> list[str]:
    stored = [f.name for f in table.stored] if table else []
    return [n for n in stored if (lookup.features == "*" or n in lookup.features) and n not in lookup.exclude]
