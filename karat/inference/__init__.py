"""Batch scoring and the online predictor: the same lookups, the same model, the same answer."""

from karat.inference.batch import inputs_of, predict, score_batch
from karat.inference.predictions import ScoringResult, score_model

__all__ = ["ScoringResult", "inputs_of", "predict", "score_batch", "score_model"]
