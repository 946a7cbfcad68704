"""How many workers fit a model together: the ``distributed`` of its YAML."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from karat.declare.base import Declaration

Backend = Literal["auto", "never", "ray_train", "xgboost_ray"]


class Distribution(Declaration):
    """Whether one process fits the model, or several Ray workers together.

    ``auto`` takes Ray Train where the rows are too many for one process to be faster, or for its memory; ``never`` is
    one process, ``ray_train`` Ray Train, ``xgboost_ray`` the library xgboost-ray (for ``kind: xgboost``). ``workers``
    is their number, by default as many as the cluster's CPUs take; each has as many threads as the parameter ``n_jobs``
    says. With ``gpu`` each worker has a GPU. In YAML: ``distributed: ray_train``, or ``distributed: {backend:
    ray_train, workers: 4, gpu: true}``.
    """

    backend: Backend = "auto"
    workers: int | None = Field(None, ge=1, le=1024)
    gpu: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: object) -> object:
        return {"backend": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _of_several(self) -> Distribution:
        if self.backend == "never" and (self.workers is not None or self.gpu):
            raise ValueError("with 'never' one process fits the model: leave out 'workers' and 'gpu'")
        return self
