"""The shop for tests of Ray programs."""

from tests.shop import shop

__all__ = ["shop"]
