"""The shop, a small project of its own, for whoever asks for it."""

from tests.shop import shop

__all__ = ["shop"]
