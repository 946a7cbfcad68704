"""What the program that loads champions says at its end."""

from __future__ import annotations

from ray_jobs.serve_champions import named_versions


def test_the_champions_are_named_and_not_counted() -> None:
    assert (
        named_versions({"shop_dev.models.value": 3, "shop_dev.models.churn": 12}) == "churn version 12, value version 3"
    )
    assert named_versions({"shop.churn": 1}) == "churn version 1"
    assert named_versions({}) == "no champion of this project"
