"""The registry: versions of ``catalog.schema.NAME``, their aliases, and how they are found and loaded."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import polars as pl
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.store.entities.paged_list import PagedList

from karat.clock import utc_now
from karat.errors import ModelNotFound, NoChampion, did_you_mean
from karat.names import ARCHIVED, CHALLENGER, CHAMPION, SCHEMAS, ModelName, ModelRef
from karat.registry.connection import Connection, karat_errors
from karat.registry.entry import CARD, TAG_LIMIT, VersionEntry, is_orphan, write_entry
from karat.registry.metadata import ModelMetadata
from karat.registry.model_files import DATA, METADATA, SPINE, read_folder
from karat.registry.records import LoadedModel, ModelStatus, ModelVersion
from karat.registry.reports import attach_page
from karat.registry.tags import AliasTags, VersionTags
from karat.training.gain_report import is_gain_metric

_PAGE = 500
Found = TypeVar("Found")
_OURS = re.compile(r"^[A-Za-z_]\w*\.[A-Za-z_]\w*\.[A-Za-z_]\w*$", re.ASCII)
_TABLE_SCHEMAS = frozenset(SCHEMAS) - {"models"}


class Registry:
    """All registered models of one MLflow.

    Every call raises ServiceDown or StoreUnreachable if MLflow cannot be reached.

    Args:
        tracking_uri: A server's address, or ``sqlite:///FILE``.
        artifacts: With SQLite, the folder of the models' files; by default beside the database.
    """

    def __init__(self, tracking_uri: str, artifacts: Path | None = None) -> None:
        self.tracking_uri = tracking_uri
        self.connection = Connection(tracking_uri, artifacts)

    @property
    def client(self) -> MlflowClient:
        """MLflow's own client."""
        return self.connection.client

    # ---- writing

    def log(self, entry: VersionEntry) -> ModelVersion:
        """Write run, logged model and version; the version comes last, when everything else stands."""
        with karat_errors(self.tracking_uri):
            return self.version(entry.name, write_entry(self.connection, entry))

    def settle(self, version: ModelVersion) -> None:
        """Close the run of a version whose process was killed after it had registered the version."""
        with karat_errors(self.tracking_uri):
            run = self.client.get_run(version.run_id)
            if run.info.status == "RUNNING" and is_orphan(run):
                self.client.set_terminated(version.run_id, "FINISHED")

    def set_alias(self, version: ModelVersion, alias: str, reason: str) -> ModelVersion:
        """Point ``alias`` to the version, taking it from another, and keep the reason as a tag.

        Returns:
            The version as it stands then.
        """
        with karat_errors(self.tracking_uri):
            tagged = self.tag(version, VersionTags(aliases={alias: AliasTags(reason=reason, since=_now())}))
            self.connection.models.set_registered_model_alias(str(version.name), alias, str(version.version))
        return replace(tagged, aliases=tuple(sorted({*version.aliases, alias})))

    def clear_alias(self, model: ModelName, alias: str, reason: str, *, of: int | None = None) -> None:
        """Remove the alias; the version that had it keeps the reason as a tag.

        Nothing happens if no version has the alias, or another version than ``of``.
        """
        with karat_errors(self.tracking_uri):
            held = self._holder(model, alias)
            if held is None or of not in (None, int(held.version)):
                return
            ended = VersionTags(aliases={alias: AliasTags(ended=reason, until=_now())})
            self._tag(model, int(held.version), ended)
            self.connection.models.delete_registered_model_alias(str(model), alias)

    def tag(self, version: ModelVersion, tags: VersionTags) -> ModelVersion:
        """Set Karat's tags; return the version as it stands then."""
        with karat_errors(self.tracking_uri):
            return replace(version, tags=version.tags | self._tag(version.name, version.version, tags))

    def _tag(self, model: ModelName, number: int, tags: VersionTags) -> dict[str, str]:
        """The tags as MLflow keeps them."""
        kept = {key: str(value)[:TAG_LIMIT] for key, value in tags.to_mlflow().items()}
        for key, value in kept.items():
            self.connection.models.set_model_version_tag(str(model), str(number), key, value)
        return kept

    def attach(self, version: ModelVersion, path: str, text: str, *, keep: int | None = None) -> str:
        """Put a text file among the artifacts of the run that made the version.

        Args:
            version: The version.
            path: FOLDER/DAY-NAME, such as ``monitoring/2026-11-21-drift.html``; a file that is there is replaced.
            text: Content.
            keep: Number of such files that stay, the newest days; all by default.

        Returns:
            ``path``.
        """
        with karat_errors(self.tracking_uri):
            attach_page(self.connection, version.run_id, path, text, keep)
        return path

    def delete(self, version: ModelVersion) -> None:
        """Delete the version."""
        with karat_errors(self.tracking_uri):
            self.client.delete_model_version(str(version.name), str(version.version))

    def drop(self, model: ModelName) -> None:
        """Delete a registered model with all its versions; its runs stay in MLflow."""
        with karat_errors(self.tracking_uri):
            self.client.delete_registered_model(str(model))

    # ---- finding

    def models(self, catalog: str | None = None) -> list[ModelName]:
        """Return every registered model (of a catalog), sorted."""
        found = [ModelName.parse(m.name) for m in self._registered()]
        return sorted(m for m in found if catalog in (None, m.catalog))

    def versions(self, model: ModelName) -> list[ModelVersion]:
        """Return all versions, the newest first; empty for a model that is not registered."""
        with karat_errors(self.tracking_uri):
            found = self._search(model)
            aliases = self._aliases(model) if found else {}
            return [self._record(v, aliases.get(int(v.version), ())) for v in found]

    def version(self, model: ModelName, number: int) -> ModelVersion:
        """Return one version.

        Raises:
            ModelNotFound: names the versions that exist.
        """
        with karat_errors(self.tracking_uri):
            if self.connection.empty:
                raise self._not_found(model, f"version {number}")
            try:
                found = self.client.get_model_version(str(model), str(number))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise self._not_found(model, f"version {number}") from error
            return self._record(found, found.aliases)

    def by_alias(self, model: ModelName, alias: str) -> ModelVersion | None:
        """Return the version with the alias; None without."""
        with karat_errors(self.tracking_uri):
            found = self._holder(model, alias)
            return None if found is None else self._record(found, found.aliases)

    def champion(self, model: ModelName) -> ModelVersion | None:
        """Return the champion; None without."""
        return self.by_alias(model, CHAMPION)

    def challenger(self, model: ModelName) -> ModelVersion | None:
        """Return the challenger; None without."""
        return self.by_alias(model, CHALLENGER)

    def archived(self, model: ModelName) -> ModelVersion | None:
        """Return the last champion before the current one; None without."""
        return self.by_alias(model, ARCHIVED)

    def find(self, model: ModelName, definition: str, digest: str) -> ModelVersion | None:
        """Return the newest version of this definition and these data; None without."""
        with karat_errors(self.tracking_uri):
            same = self._made_of(model, (definition, digest))
            return self._record(same[0], self._aliases(model).get(int(same[0].version), ())) if same else None

    def twin(self, version: ModelVersion) -> ModelVersion | None:
        """Return the first version of the same definition and data if that is an earlier one, else None."""
        with karat_errors(self.tracking_uri):
            first = self._made_of(version.name, _made_of(version.tags))[-1]
            return None if int(first.version) == version.version else self.version(version.name, int(first.version))

    def resolve(self, ref: ModelRef | str, *, catalog: str | None = None) -> ModelVersion:
        """Return the version that a reference names: a number, an alias or ``latest``; the champion by default.

        Raises:
            ModelNotFound: no such model or version.
            NoChampion: no version has the alias.
            WrongCall: the reference cannot be read.
        """
        ref = ref if isinstance(ref, ModelRef) else ModelRef.parse(ref, catalog=catalog)
        if ref.version is not None:
            return self.version(ref.model, ref.version)
        found = self.by_alias(ref.model, str(ref.alias)) if ref.alias != "latest" else None
        if found is not None:
            return found
        versions = self.versions(ref.model)
        if not versions:
            raise self._not_found(ref.model, "")
        if ref.alias == "latest":
            return versions[0]
        shown = ", ".join(f"{v.version} ({', '.join(v.aliases) or 'no alias'})" for v in versions[:5])
        raise NoChampion(
            f"{ref.model} has no {ref.alias}",
            where=f"versions: {shown}",
            remedy=f"name a version, as in models:/{ref.model}/{versions[0].version}, or train and promote one",
        )

    def statuses(self, catalog: str | None = None) -> list[ModelStatus]:
        """Return every registered model (of a catalog) with its champion, challenger and newest version."""
        with karat_errors(self.tracking_uri):
            named = [(ModelName.parse(m.name), m) for m in self._registered()]
            return sorted(
                (self._status(name, model) for name, model in named if catalog in (None, name.catalog)),
                key=lambda s: s.model,
            )

    def _status(self, name: ModelName, model: RegisteredModel) -> ModelStatus:
        aliases = {alias: int(number) for alias, number in model.aliases.items()}
        newest = max((int(v.version) for v in model.latest_versions), default=None)
        numbers = (aliases.get(CHAMPION), aliases.get(CHALLENGER), newest)
        made = {n: self.version(name, n) for n in {*numbers} if n is not None}
        champion, challenger, last = (None if n is None else made[n] for n in numbers)
        return ModelStatus(name, champion, challenger, last)

    # ---- loading

    def load(
        self, ref: ModelRef | ModelVersion | str, *, catalog: str | None = None, judged: bool = False
    ) -> LoadedModel:
        """Load the model of a version, an alias or a name (its champion).

        Args:
            ref: The version, or a reference to it.
            catalog: Where a bare name is.
            judged: Whether to load the model whose metrics are known, in place of the one that was fitted again on all
                rows afterwards. They are the same without a refit.

        Raises:
            KaratError: what ``resolve`` raises.
            UntrustedModel: the folder is not one of Karat's.
        """
        version = ref if isinstance(ref, ModelVersion) else self.resolve(ref, catalog=catalog)
        with self.files(version) as folder:
            model, metadata = read_folder(folder, judged=judged)
        return LoadedModel(version.name, version.version, version.run_id, model, metadata)

    def metadata(self, version: ModelVersion) -> ModelMetadata:
        """The version's metadata, without loading the model."""
        with self.files(version) as folder:
            return ModelMetadata.from_json(json.loads((folder / METADATA).read_text()))

    def parameters(self, version: ModelVersion) -> dict[str, str]:
        """Return the parameters of the run that made the version, as text."""
        with karat_errors(self.tracking_uri):
            return dict(self.client.get_run(version.run_id).data.params)

    def card(self, version: ModelVersion) -> str:
        """Return the version's model card in Markdown.

        Raises:
            ModelNotFound: the version has no card: it is from before cards, or was fitted elsewhere and not evaluated.
        """
        with karat_errors(self.tracking_uri), tempfile.TemporaryDirectory(prefix="karat-card-") as work:
            local = self.connection.local(self.client.get_run(version.run_id).info.artifact_uri)
            try:
                path = local / CARD if local else Path(self.client.download_artifacts(version.run_id, CARD, work))
                return path.read_text()
            except (OSError, MlflowException) as error:
                raise ModelNotFound(
                    f"{version.uri} has no card",
                    where=self.tracking_uri,
                    remedy="train it again: its card is written then",
                ) from error

    def spine(self, version: ModelVersion) -> pl.DataFrame:
        """Return the keys, label and split of the training set, in the stored row order."""
        with self.files(version) as folder:
            return pl.read_parquet(folder / SPINE)

    def erase_spine(self, version: ModelVersion, keys: pl.DataFrame) -> None:
        """Remove the rows of these keys from the spine in the model's folder."""
        spine = self.spine(version)
        left = spine.join(keys, on=keys.columns, how="anti", maintain_order="left")
        if left.height == spine.height:
            return
        with karat_errors(self.tracking_uri):
            location = self.client.get_model_version_download_uri(str(version.name), str(version.version))
            local = self.connection.local(location)
            if local is not None:
                left.write_parquet(local / DATA / f".{SPINE}")
                (local / DATA / f".{SPINE}").replace(local / DATA / SPINE)
                return
            with tempfile.TemporaryDirectory(prefix="karat-erase-") as work:
                (Path(work) / DATA).mkdir(parents=True)
                left.write_parquet(Path(work) / DATA / SPINE)
                self.client.log_model_artifacts(version.model_id, work)

    @contextmanager
    def files(self, version: ModelVersion) -> Iterator[Path]:
        """The folder of the model's own files: in place on this machine, else a temporary copy."""
        with karat_errors(self.tracking_uri):
            location = self.client.get_model_version_download_uri(str(version.name), str(version.version))
            local = self.connection.local(location)
            if local is not None:
                if not (local / DATA).is_dir():
                    raise ModelNotFound(
                        f"the files of {version.uri} are gone", where=str(local), remedy="train the model again"
                    )
                yield local / DATA
                return
            copy = Path(tempfile.mkdtemp(prefix="karat-model-"))
            try:
                self.connection.model_files(version.model_id).download_artifacts(DATA, dst_path=str(copy))
                yield copy / DATA
            finally:
                shutil.rmtree(copy, ignore_errors=True)

    # ---- inside

    def _registered(self) -> list[RegisteredModel]:
        """MLflow's registered models with a name of Karat's form."""
        if self.connection.empty:
            return []
        with karat_errors(self.tracking_uri):
            return [m for m in _pages(self.client.search_registered_models) if _is_ours(m.name)]

    def _search(self, model: ModelName) -> list[MlflowVersion]:
        """All versions, the newest first."""
        if self.connection.empty:
            return []
        found = _pages(self.client.search_model_versions, filter_string=f"name = '{model}'")
        return sorted(found, key=lambda v: -int(v.version))

    def _made_of(self, model: ModelName, wanted: tuple[str | None, str | None]) -> list[MlflowVersion]:
        """The versions of this definition and digest, the newest first."""
        return [v for v in self._search(model) if _made_of(v.tags) == wanted]

    def _holder(self, model: ModelName, alias: str) -> MlflowVersion | None:
        if self.connection.empty:
            return None
        try:
            made: MlflowVersion | None = self.connection.models.get_model_version_by_alias(str(model), alias)
            return made
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no model; no alias
                raise
            return None

    def _aliases(self, model: ModelName) -> dict[int, tuple[str, ...]]:
        """Version -> its aliases."""
        aliases = self.client.get_registered_model(str(model)).aliases
        held: dict[int, tuple[str, ...]] = {}
        for alias, number in sorted(aliases.items()):
            held[int(number)] = (*held.get(int(number), ()), alias)
        return held

    def _record(self, found: MlflowVersion, aliases: Sequence[str]) -> ModelVersion:
        """The record of one of MLflow's versions; a search does not tell its aliases."""
        run = self.client.get_run(found.run_id) if found.run_id else None
        logged = run.data.metrics if run else {}
        baseline = {k.removeprefix("baseline_"): v for k, v in logged.items() if k.startswith("baseline_")}
        return ModelVersion(
            name=ModelName.parse(found.name),
            version=int(found.version),
            run_id=found.run_id or "",
            model_id=VersionTags.from_mlflow(found.tags).model_id or "",
            aliases=tuple(sorted(aliases)),
            created=datetime.fromtimestamp(found.creation_timestamp / 1000, tz=UTC),
            tags=dict(found.tags),
            metrics={k: v for k, v in logged.items() if k in baseline or not (_prefixed(k) or is_gain_metric(k))},
            baseline=baseline,
            judged={k: v for k, v in logged.items() if is_gain_metric(k)},
            experiment_id=run.info.experiment_id if run else "",
        )

    def _not_found(self, model: ModelName, what: str) -> ModelNotFound:
        known = self.models()
        if model in known:
            numbers = ", ".join(str(v.version) for v in self.versions(model)[:10])
            return ModelNotFound(f"{model} has no {what}", where=self.tracking_uri, remedy=f"versions: {numbers}")
        near = did_you_mean(str(model), map(str, known)) or "no model is registered yet: karat run PROJECT trains them"
        return ModelNotFound(f"there is no model {model}", where=self.tracking_uri, remedy=near)


def _is_ours(name: str) -> bool:
    return bool(_OURS.match(name)) and name.split(".")[1] not in _TABLE_SCHEMAS


def _made_of(tags: Mapping[str, str]) -> tuple[str | None, str | None]:
    own = VersionTags.from_mlflow(tags)
    return own.definition, own.digest


def _prefixed(metric: str) -> bool:
    return metric.startswith(("baseline_", "train_", "curve_"))


def _pages(search: Callable[..., PagedList[Found]], **query: str) -> Iterator[Found]:
    token = None
    while True:
        page = search(**query, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _now() -> str:
    return utc_now().isoformat(timespec="seconds")
