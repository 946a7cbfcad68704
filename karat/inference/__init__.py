"""Inference: batch scoring and the online predictor, through the same lookups and the same model."""

from karat.inference.batch import inputs_of, predict, score_batch
from karat.inference.predictions import ScoringResult, score_model

__all__ = ["ScoringResult", "inputs_of", "predict", "score_batch", "score_model"]
