"""Versions that the HTTP application serves, as it reports them itself."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from karat.settings import Settings


def serves_versions(settings: Settings, wanted: Mapping[str, int | None]) -> bool:
    """Return whether every registered model is served at this version, and none of those with None is served."""
    try:
        answer = httpx.get(f"{settings.serve_url}/v1/models", timeout=5, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError:
        return False
    loaded = {m["registered_name"]: m["loaded_version"] for m in answer.json()["models"]}
    return all(loaded.get(name) == version for name, version in wanted.items())
