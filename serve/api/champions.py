"""Champions: the model versions that answer, loaded in the background and swapped by reference."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from karat.errors import KaratError, StoreUnreachable, UnknownModel, did_you_mean
from karat.names import ModelName, project_of
from karat.settings import Settings

if TYPE_CHECKING:
    from serve.api.loaded_model import LoadedVersion

log = logging.getLogger("karat.serve")

_UNDESCRIBED: dict[str, object] = {
    **dict.fromkeys(("run_id", "task", "kind", "loaded_at")),
    "metrics": {},
    "baseline": {},
    "keys": [],
    "features": {},
}
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)


class Champions:
    """The wanted versions (registered model -> version), and those that are loaded.

    One thread loads; requests read a dict that is replaced as a whole, so that a version answers until its successor
    can. What can't be loaded is tried again, and its error shown, until it can or is no longer wanted.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._wanted: dict[ModelName, int] = {}
        self._served: dict[ModelName, LoadedVersion] = {}
        self._errors: dict[ModelName, str] = {}
        self._names: dict[str, tuple[ModelName, ...]] = {}
        self._changed, self._swapping, self._tried = threading.Event(), threading.Lock(), threading.Condition()
        threading.Thread(target=self._keep_loading, name="champions", daemon=True).start()

    # ---- what is wanted

    def want(self, champions: Mapping[str, int]) -> None:
        """Returns at once. Raises WrongCall for what is no model's name."""
        wanted = {ModelName.parse(name): int(version) for name, version in champions.items()}
        with self._swapping:
            self._wanted, self._names, self._errors = wanted, _spellings(wanted), {}
            self._served = {name: served for name, served in self._served.items() if name in wanted}
        self._changed.set()

    def find(self, text: str) -> LoadedVersion:
        """Find the loaded version of a model.

        Args:
            text: ``project.model``, the registered name, or the bare name if it is unique; kebab and upper case too.

        Returns:
            The loaded version.

        Raises:
            UnknownModel: No such model; names the nearest.
            StoreUnreachable: The model is not loaded yet.
        """
        found = self._names.get(text) or self._names.get(normalised(text))
        if found is None:
            short = {_short(name) for name in self._wanted}
            raise UnknownModel(
                f"there is no model {text!r}",
                where="POST /v1/predict/{model}",
                remedy=did_you_mean(text, short) or "no model has a champion yet: karat run PROJECT",
            )
        if len(found) > 1:
            raise UnknownModel(
                f"several projects have a model {text!r}",
                where="POST /v1/predict/{model}",
                remedy=f"name one of: {', '.join(sorted(map(_short, found)))}",
            )
        served = self._served.get(found[0])
        if served is None:
            raise StoreUnreachable(
                f"version {self._wanted.get(found[0])} of {found[0]} is not loaded yet",
                where=self._errors.get(found[0], "it is being loaded"),
                remedy="ask again in a moment; GET /v1/models shows when it is there",
            )
        return served

    def is_loading(self, text: str) -> bool:
        """Whether the model that ``text`` means is wanted, not there, and not known to fail."""
        found = self._names.get(text) or self._names.get(normalised(text)) or ()
        return len(found) == 1 and found[0] not in self._served and found[0] not in self._errors

    def settle(self, seconds: float) -> bool:
        """Wait until every wanted version is loaded, or has failed once.

        Args:
            seconds: How long to wait at most.

        Returns:
            Whether that is so.
        """
        with self._tried:
            return self._tried.wait_for(self._is_settled, seconds)

    def _is_settled(self) -> bool:
        return all(self._is_loaded(n, v) or n in self._errors for n, v in list(self._wanted.items()))

    def _is_loaded(self, name: ModelName, version: int) -> bool:
        served = self._served.get(name)
        return served is not None and served.version == version

    def close(self) -> None:
        """Writes what the predictions still have to be logged; nothing, where no model was ever loaded."""
        if self._served:
            import_module("serve.api.loaded_model").close_logs()

    # ---- what there is

    def describe(self) -> list[dict[str, object]]:
        """One record a model, sorted by project and name."""
        return [self._record(name, version) for name, version in sorted(self._wanted.items())]

    def examples(self) -> dict[str, dict[str, object]]:
        """Loaded model -> the body of a prediction that has an answer."""
        found = {_short(name): served.example() for name, served in sorted(self._served.items())}
        return {name: body for name, body in found.items() if body is not None}

    def _record(self, name: ModelName, version: int) -> dict[str, object]:
        served, error = self._served.get(name), self._errors.get(name)
        return {
            "name": _short(name),
            "project": project_of(name.catalog),
            "model": name.short,
            "registered_name": str(name),
            "prediction_type": name.name.upper(),
            "version": version,
            "loaded_version": served.version if served else None,
            "status": "failed" if error else "ready" if served and served.version == version else "loading",
            "error": error,
            **(served.described() if served else _UNDESCRIBED),
        }

    # ---- loading

    def _keep_loading(self) -> None:
        # What loads a model takes seconds to import: this replica, and Serve's build step, are ready before that.
        self._load = import_module("serve.api.loaded_model").load
        failures = 0
        while True:
            pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1] if failures else None
            if self._changed.wait(pause):
                failures = 0
            self._changed.clear()
            failures = failures + 1 if self._load_missing() else 0

    def _load_missing(self) -> bool:
        """Loads what is wanted and not there; True where something failed."""
        failed = False
        for name, version in list(self._wanted.items()):
            if self._is_loaded(name, version) or self._wanted.get(name) != version:
                continue
            try:
                fresh: LoadedVersion = self._load(self.settings, name, version)
            except Exception as error:  # a model that can't be loaded must not stop the others from being loaded
                failed = True
                what = error.what if isinstance(error, KaratError) else repr(error)
                log.warning("version %s of %s could not be loaded: %s", version, name, what, exc_info=True)
                self._errors = {**self._errors, name: what}
                self._tell()
                continue
            with self._swapping:
                if self._wanted.get(name) != version:
                    continue
                self._served = {**self._served, name: fresh}
                self._errors = {n: e for n, e in self._errors.items() if n != name}
            self._tell()
            log.info("version %s of %s answers", version, name)
        return failed

    def _tell(self) -> None:
        with self._tried:
            self._tried.notify_all()


def normalised(text: str) -> str:
    """The declared name of a model that is asked for in kebab case, in upper case or as ``NAME_model``."""
    return text.lower().replace("-", "_").removesuffix("_model")


def _short(name: ModelName) -> str:
    return f"{project_of(name.catalog)}.{name.short}"


def _spellings(models: Mapping[ModelName, int]) -> dict[str, tuple[ModelName, ...]]:
    """Every way to write each model -> the models that it may mean."""
    found: dict[str, tuple[ModelName, ...]] = {}
    for name in models:
        # Document 001 writes project and model as one word: hydroponics_lstm_forecast.
        full = {_short(name), str(name), _short(name).replace(".", "_")}
        for text in full | {name.name} | {normalised(t) for t in (*full, name.name)}:
            found[text] = (*found.get(text, ()), name)
    return found
