"""YAML declarations: fields with their line numbers, validated into records."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from karat.declare.base import Declaration, FieldErrors
from karat.errors import did_you_mean

Record = TypeVar("Record", bound=Declaration)
#: The fields and list indices that lead to a value, as Pydantic gives them.
Location = tuple[str | int, ...]


def read_yaml(path: Path, errors: list[str]) -> dict[str, Any] | None:
    """Read a YAML file that holds a mapping.

    Args:
        path: The file.
        errors: Gains an error with its line for a file that can't be read, and for each field that is there twice.

    Returns:
        The mapping; None if the file holds none.
    """
    try:
        node, data = _parse(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        errors.append(f"{display_path(path)}{f':{mark.line + 1}' if mark else ''}: {getattr(error, 'problem', error)}")
        return None
    if not isinstance(data, dict):
        errors.append(f"{display_path(path)}: expected a mapping of fields, found {type(data).__name__}")
        return None
    errors.extend(f"{display_path(path)}:{line}: {told}" for line, told in _repeated_fields(node))
    return data


def _parse(text: str) -> tuple[yaml.Node | None, object]:
    """Parse YAML with libyaml, twenty times as fast as Python: the nodes, which know their lines, and their values."""
    loader = yaml.CSafeLoader(text)
    try:
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    except yaml.YAMLError:  # the Python parser says better what is wrong, and where
        return yaml.compose(text), yaml.safe_load(text)
    finally:
        loader.dispose()


def _repeated_fields(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Find the fields that a mapping has twice; YAML takes the last one silently."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_fields(item)
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in first:
                yield line, f"{key.value}: line {first[key.value]} sets it too. Write it once."
            first.setdefault(key.value, line)
            yield from _repeated_fields(value)


def display_path(path: Path) -> str:
    """The path as messages show it: from the project's folder on."""
    parts = path.parts
    return str(Path(*parts[parts.index("projects") + 1 :])) if "projects" in parts else str(path)


def position(path: Path, loc: Location) -> str:
    """``file:line`` of the YAML node at ``loc``, as messages show it."""
    return f"{display_path(path)}:{yaml_line(path, loc)}"


def yaml_line(path: Path, loc: Location) -> int:
    """The 1-based line of the YAML node at ``loc``, or of its nearest parent in the file."""
    node, _ = _parse(path.read_text())
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


def merge_fields(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge ``over`` into ``base``; mappings are merged field by field."""
    out = dict(base)
    for key, value in over.items():
        kept = out.get(key)
        out[key] = merge_fields(kept, value) if isinstance(kept, dict) and isinstance(value, dict) else value
    return out


def validate_record(cls: type[Record], data: dict[str, Any], path: Path, errors: list[str]) -> Record | None:
    """Validate YAML data as a record.

    Args:
        cls: The record's class.
        data: The fields.
        path: The file, for the lines of errors.
        errors: Gains all errors of the fields.

    Returns:
        The record. If fields are wrong, the record without them, or None if it needs them.
    """
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        for loc, text in _messages(cls, error):
            field = ".".join(str(p) for p in loc)
            errors.append(f"{position(path, loc)}: {field + ': ' if field else ''}{text}")
        return _validate_rest(cls, data, [p["loc"] for p in error.errors()], path, errors)


def record_problems(cls: type[Declaration], data: dict[str, Any]) -> list[tuple[Location, str]]:
    """The (location, text) of each error that ``data`` has as a record."""
    try:
        cls.model_validate(data)
    except ValidationError as error:
        return [*_messages(cls, error)]
    return []


def _messages(cls: type[Declaration], error: ValidationError) -> Iterator[tuple[Location, str]]:
    """Give the location and the text of each of Pydantic's errors."""
    for problem in _flat_errors(error):
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"unknown field. {did_you_mean(str(problem['loc'][-1]), _fields_at(cls, problem['loc'][:-1]))}"
        yield problem["loc"], message


def _validate_rest(
    cls: type[Record], data: dict[str, Any], wrong: list[Location], path: Path, errors: list[str]
) -> Record | None:
    """Revalidate without the invalid fields; report only new errors."""
    rest = copy.deepcopy(data)
    for loc in wrong:
        _remove_field(rest, loc)
    if rest == data:
        return None
    try:
        return cls.model_validate(rest)
    except ValidationError as error:
        told = {loc[0] for loc in wrong}
        between = [p for p in _flat_errors(error) if p["loc"] and p["loc"][0] not in told and _spans_fields(p)]
        errors.extend(f"{position(path, p['loc'])}: {'.'.join(map(str, p['loc']))}: {p['msg']}" for p in between)
        return None


def _spans_fields(problem: dict[str, Any]) -> bool:
    """Whether the error is of several fields that conflict."""
    return isinstance(problem.get("ctx", {}).get("error"), FieldErrors)


def _remove_field(data: object, loc: Location) -> None:
    """Remove the deepest field of ``data`` on the way to ``loc``; list items stay."""
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


def _flat_errors(error: ValidationError) -> Iterator[dict[str, Any]]:
    """Give Pydantic's errors, each at its own field; a conflict between fields is one error a field."""
    for problem in error.errors():
        raised = problem.get("ctx", {}).get("error")
        if isinstance(raised, FieldErrors):
            for loc, text in raised.found:
                yield {**problem, "loc": (*problem["loc"], *loc), "msg": text}
        else:
            yield {**problem}


def _fields_at(cls: type[object], loc: Location) -> list[str]:
    """Names of the fields of the record at ``loc``, for "Did you mean"."""
    for part in loc:
        found = getattr(cls, "model_fields", {}).get(part)
        if found is not None:
            args = getattr(found.annotation, "__args__", ())
            cls = next((a for a in (found.annotation, *args) if hasattr(a, "model_fields")), cls)
    return list(getattr(cls, "model_fields", {}))
