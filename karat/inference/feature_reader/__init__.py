"""Feature reader: one key or many, now or as of a time, from the online or the offline store."""

from karat.inference.feature_reader.reader import FeatureReader
from karat.inference.feature_reader.vector import FeatureVector, keys_text

__all__ = ["FeatureReader", "FeatureVector", "keys_text"]
