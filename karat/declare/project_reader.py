"""Project reader: a project's folder as one checked record, with all errors of its declarations at once."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import polars as pl

from karat.declare.cross_checks import check_batch_tables, check_feature_sets, check_references
from karat.declare.declarations import Declarations
from karat.declare.feature_tables import FeatureTable
from karat.declare.functions import DeclaredFunction
from karat.declare.gold import GoldTable
from karat.declare.models import ModelSpec
from karat.declare.past_window import with_past_window
from karat.declare.project import Metrics, Project, ProjectSpec, Sample, gold_files
from karat.declare.python_files import ROOT, line_of, run_file
from karat.declare.yaml_source import (
    display_path,
    merge_fields,
    position,
    read_yaml,
    record_problems,
    validate_record,
)
from karat.errors import DeclarationError, UnknownProject, did_you_mean
from karat.kinds import check_declared, facts, names
from karat.settings import ENVIRONMENTS, Settings

T = TypeVar("T")
#: Steps that a kind reads of each feature where no lookup of its model names a length.
SEQUENCE_LENGTH = 24
_CALLED: dict[type, str] = {
    GoldTable: "gold table",
    FeatureTable: "feature table",
    DeclaredFunction: "feature function",
}


def project_names(settings: Settings) -> tuple[str, ...]:
    """Names of the folders under ``settings.projects`` that hold a ``project.yaml``, sorted."""
    if not settings.projects.is_dir():
        return ()
    return tuple(sorted(p.parent.name for p in settings.projects.glob("*/project.yaml")))


def load_project(name: str, settings: Settings | None = None) -> Project:
    """Read and check a project.

    Args:
        name: The folder under ``settings.projects``.
        settings: The settings; by default those of the environment.

    Returns:
        The project, as its environment has it.

    Raises:
        UnknownProject: There is no such folder.
        DeclarationError: Something is wrong; it lists every error with its file and line.
    """
    settings = settings or Settings()
    path = _project_folder(name, settings)
    errors: list[str] = []
    spec = _read_project_spec(path / "project.yaml", settings.environment, errors)
    gold, sample = _read_gold(gold_files(path), name, errors)
    tables, functions = _read_features(path / "features", name, errors)
    models = _read_models(path / "models", errors)
    metrics = _read_metrics(path / "metrics.py", name, errors)
    errors.extend(check_references(path, gold, tables, functions, models))
    errors.extend(check_feature_sets(path / "project.yaml", spec, tables) if spec else ())
    if spec and models.whole and tables.whole:  # these say of a name that is not there that there is none
        errors.extend(check_batch_tables(path / "project.yaml", spec, models, tables))
    if errors or spec is None:
        raise _declaration_error(name, path, errors)
    for model in models:
        models[model] = with_past_window(models[model], tables)
    return Project(name, path, settings.environment, spec, gold, tables, models, sample, functions, metrics)


def load_functions(name: str, settings: Settings | None = None) -> dict[str, DeclaredFunction]:
    """Read the feature functions that a project declares, whatever else is wrong with it.

    Args:
        name: The folder under ``settings.projects``.
        settings: The settings; by default those of the environment.

    Returns:
        The functions by name.

    Raises:
        UnknownProject: There is no such folder.
        DeclarationError: A file under ``features`` can't be read.
    """
    settings = settings or Settings()
    path = _project_folder(name, settings)
    errors: list[str] = []
    _, functions = _read_features(path / "features", name, errors)
    if errors:
        raise _declaration_error(name, path, errors)
    return functions


def _project_folder(name: str, settings: Settings) -> Path:
    if name not in project_names(settings):
        raise UnknownProject(
            f"there is no project {name!r}",
            where=str(settings.projects),
            remedy=did_you_mean(name, project_names(settings))
            or "set KARAT_PROJECTS to the folder that holds your projects",
        )
    return settings.projects / name


def _declaration_error(name: str, path: Path, errors: list[str]) -> DeclarationError:
    count = f"{len(errors)} error{'s' if len(errors) != 1 else ''}"
    return DeclarationError(
        f"the declarations of project {name!r} have {count}",
        where=str(path),
        remedy=f"mend them and look again with: karat check {name}",
        errors=errors,
    )


def _read_project_spec(path: Path, environment: str, errors: list[str]) -> ProjectSpec | None:
    data = read_yaml(path, errors)
    if data is None:
        return None
    base = validate_record(ProjectSpec, data, path, errors)
    own = data.get("environments")
    for name, over in own.items() if isinstance(own, dict) else ():
        errors.extend(_environment_problems(path, data, str(name), over))
    if errors:
        return base
    return ProjectSpec.model_validate(merge_fields(data, (own or {}).get(environment, {})))


def _environment_problems(path: Path, data: dict[str, Any], name: str, over: object) -> Iterator[str]:
    """Validate what one environment overrides, whether or not it is in use."""
    at: tuple[str, ...] = ("environments", name)
    if name not in ENVIRONMENTS:
        near = did_you_mean(name, ENVIRONMENTS)
        yield f"{position(path, at)}: environments: there is no {name!r}. {near}"
    elif isinstance(over, dict):
        everywhere = record_problems(ProjectSpec, data)
        for loc, text in record_problems(ProjectSpec, merge_fields(data, over)):
            place = (*at, *loc)
            if (loc, text) in everywhere:
                continue
            yield f"{position(path, place)}: {'.'.join(map(str, place))}: {text}"


def _run_declarations(path: Path, project: str, errors: list[str], broken: set[str]) -> ModuleType | None:
    """Run a file of declarations as a module of its own name; ``broken`` lists the modules that are incomplete."""
    name = f"{ROOT}.{project}.{path.stem}"
    ran = run_file(path, name, broken=broken)
    errors.extend(f"{display_path(path)}:{line}: {text}" for line, text in ran.errors)
    if not ran.whole:
        broken.add(name)
    return ran.module


def _read_gold(paths: Sequence[Path], project: str, errors: list[str]) -> tuple[Declarations[GoldTable], Sample | None]:
    """Read the gold tables of all files and join their samples.

    Files whose names begin with ``_`` are shared: they sort first, and others import them as
    ``karat_projects.PROJECT.gold._NAME``.
    """
    found: Declarations[GoldTable] = Declarations()
    samples: list[tuple[frozenset[str], Sample]] = []
    broken: set[str] = set()
    for path in paths:
        before = len(broken)
        module = _run_declarations(path, project if path.name == "gold.py" else f"{project}.gold", errors, broken)
        tables = _collect(module, GoldTable, path, found, errors)
        if not tables and not path.name.startswith("_") and len(broken) == before:
            errors.append(f"{display_path(path)}: declares no GoldTable")
        if module is not None and hasattr(module, "sample"):
            samples.append((frozenset(table.name for table in tables), module.sample))
    found.whole = not broken
    return found, _join_samples(samples) if samples else None


def _collect(module: ModuleType | None, cls: type[T], path: Path, found: Declarations[T], errors: list[str]) -> list[T]:
    """Add a file's declarations of one class to ``found``."""
    own = {variable: value for variable, value in vars(module).items() if isinstance(value, cls)} if module else {}
    for variable, value in own.items():
        name: str = value.name  # type: ignore[attr-defined]
        if name in found and value is not found[name]:
            line = line_of(path, variable, name)
            errors.append(f"{display_path(path)}:{line}: the {_CALLED[cls]} {name!r} is declared twice")
        found[name] = value
        found.places.setdefault(name, (path, variable))  # another file may import it
    return [*own.values()]


def _join_samples(samples: Sequence[tuple[frozenset[str], Sample]]) -> Sample:
    """Join the sample generators of all files into one.

    Given ``tables``, the generators whose files declare one of them run first, the others only for what is still
    missing. A generator with a parameter ``tables`` receives them.
    """

    def sample(*, tables: Collection[str] | None = None, **how: Any) -> dict[str, pl.DataFrame]:
        frames: dict[str, pl.DataFrame] = {}
        # Stable: the generators of files that declare what is wanted come first, each of them in its order.
        for declared, one in sorted(samples, key=lambda pair: pair[0].isdisjoint(tables or ())):
            if tables is None or not declared.isdisjoint(tables) or not frames.keys() >= set(tables):
                chosen = {"tables": tables} if "tables" in inspect.signature(one).parameters else {}
                frames.update(one(**how, **chosen))
        return frames

    return sample


def _read_features(
    folder: Path, project: str, errors: list[str]
) -> tuple[Declarations[FeatureTable], Declarations[DeclaredFunction]]:
    """Read the feature tables and feature functions of all files."""
    tables: Declarations[FeatureTable] = Declarations()
    functions: Declarations[DeclaredFunction] = Declarations()
    broken: set[str] = set()
    for path in sorted(folder.glob("*.py")):
        module = _run_declarations(path, f"{project}.features", errors, broken)
        _collect(module, FeatureTable, path, tables, errors)
        _collect(module, DeclaredFunction, path, functions, errors)
    tables.whole = functions.whole = not broken
    return tables, functions


def _read_metrics(path: Path, project: str, errors: list[str]) -> Metrics | None:
    """Read the function ``metrics`` of a project's ``metrics.py``, if there is one."""
    if not path.exists():
        return None
    broken: set[str] = set()
    module = _run_declarations(path, project, errors, broken)
    function = getattr(module, "metrics", None)
    if not callable(function) and not broken:
        errors.append(f"{display_path(path)}: defines no function 'metrics': write def metrics(model, rows)")
    return function if callable(function) else None


def _read_models(folder: Path, errors: list[str]) -> Declarations[ModelSpec]:
    found: Declarations[ModelSpec] = Declarations()
    for path in sorted(folder.rglob("*.yaml")):
        data = read_yaml(path, errors)
        if data is None:
            found.whole = False
            continue
        domain = path.parent.name if path.parent != folder else ""
        data = _with_sequences(data)
        spec = validate_record(ModelSpec, {**data, "name": path.stem, "domain": domain}, path, errors)
        if path.stem in found:
            errors.append(f"{display_path(path)}: the model {path.stem!r} is declared twice")
        found.whole &= spec is not None
        if spec is not None:
            found[path.stem] = spec
            sequences = any(lookup.sequence_length for lookup in spec.lookups)
            reweighs = spec.fairness is not None and spec.fairness.mitigation == "reweigh"
            declared = check_declared(spec.kind, spec.task, spec.parameters, sequences=sequences, reweighs=reweighs)
            for loc, text in (*declared, *_search_problems(spec), *_distribution_problems(spec)):
                errors.append(f"{position(path, loc)}: {'.'.join(loc)}: {text}")
    return found


def _with_sequences(data: dict[str, Any]) -> dict[str, Any]:
    """Give the lookups of a kind that reads sequences the default length, if none of them names one."""
    kind, lookups = data.get("kind"), data.get("lookups")
    if kind not in names() or not facts(kind).sequences or not isinstance(lookups, list):
        return data
    written = [{"table": lookup} if isinstance(lookup, str) else lookup for lookup in lookups]
    if not all(isinstance(lookup, dict) and "sequence_length" not in lookup for lookup in written):
        return data
    parameters = data.get("parameters")
    length = parameters.get("sequence_length") if isinstance(parameters, dict) else None
    length = length if isinstance(length, int) else SEQUENCE_LENGTH
    return {**data, "lookups": [{**lookup, "sequence_length": length} for lookup in written]}


def _distribution_problems(spec: ModelSpec) -> Iterator[tuple[tuple[str, ...], str]]:
    """Check that the kind can be fitted as ``distributed`` says."""
    if spec.kind not in names():
        return
    known, wanted = facts(spec.kind), spec.distributed
    several = [name for name in names() if facts(name).communicator]
    if wanted.backend in ("ray_train", "xgboost_ray") and not known.communicator:
        text = f"one process fits a model of kind {spec.kind!r}; several workers fit {', '.join(several)}"
        yield ("distributed",), text
    elif wanted.backend == "xgboost_ray" and known.communicator != "xgboost":
        yield ("distributed",), f"xgboost_ray fits xgboost alone; write ray_train for kind {spec.kind!r}"
    if wanted.gpu and not known.gpu:
        on_gpu = ", ".join(name for name in names() if facts(name).gpu)
        yield ("distributed",), f"a model of kind {spec.kind!r} is fitted on CPUs; on a GPU can be {on_gpu}"


def _search_problems(spec: ModelSpec) -> Iterator[tuple[tuple[str, ...], str]]:
    """Check each search space by its choices or its ends, as parameters are checked."""
    for name, space in spec.search.items():
        problems = [p for value in space.ends for p in check_declared(spec.kind, spec.task, {name: value})]
        own = dict.fromkeys(text for loc, text in problems if loc[0] == "parameters")
        yield from ((("search", name), text) for text in own)
