"""What the HTTP application answers with now, asked of itself."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from karat.settings import Settings


def served_already(settings: Settings, wanted: Mapping[str, int | None]) -> bool:
    """True where each registered model answers with this version, and those with None do not answer at all."""
    try:
        answer = httpx.get(f"{settings.serve_url}/v1/models", timeout=5, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError:
        return False
    loaded = {m["registered_name"]: m["loaded_version"] for m in answer.json()["models"]}
    return all(loaded.get(name) == version for name, version in wanted.items())
