"""The homes of the world: what each is like, and its base value. What becomes of the values is in ``_world.py``."""

from __future__ import annotations

import numpy as np
from karat_projects.roi.gold._world import HOMES, World


def homes(world: World) -> dict[str, np.ndarray]:
    """What each of the ``HOMES`` of every user is like: arrays (n, HOMES)."""
    draw, shape = world.draw(70), (world.n, HOMES)
    feet = np.exp(draw.normal(7.5, 0.3, shape)).round()
    area = 150 * np.exp(0.2 * np.sin(world.market))[:, None] * np.exp(draw.normal(0, 0.15, shape))
    return {
        "type": draw.choice(4, shape, p=[0.6, 0.18, 0.15, 0.07]),
        "feet": feet,
        "lot": np.where(draw.random(shape) < 0.05, np.nan, (feet * draw.uniform(1.2, 6, shape)).round()),
        "bedrooms": np.clip((feet / 600 + draw.normal(0, 0.6, shape)).round(), 1, 8).astype(int),
        "bathrooms": (np.clip(feet / 800 + draw.normal(0, 0.4, shape), 1, 6) * 2).round() / 2,
        "built": draw.integers(1905, 2006, shape),
        "garage": draw.choice(4, shape, p=[0.2, 0.35, 0.37, 0.08]),
        "pool": draw.random(shape) < 0.14,
        "base": feet * area * np.exp(draw.normal(0, 0.12, shape)),
        "area": area,
        "middle": area * np.exp(draw.normal(7.5, 0.12, shape)),
        "school": draw.integers(1, 11, shape),
        "tax": 0.011 * np.exp(draw.normal(0, 0.15, shape)),
        "loan": np.where(draw.random(shape) < 1 / 7, 0.0, draw.uniform(0.55, 0.95, shape)),
        "spread": np.abs(draw.normal(0.003, 0.003, shape)),
        "busy": draw.lognormal(3.8, 0.3, shape),
    }
