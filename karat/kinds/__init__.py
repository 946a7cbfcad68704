"""Estimator kinds, one file each; ``Model`` joins a kind with the encoder of its rows.

A new kind is a file ``karat/kinds/NAME.py`` with one subclass of ``Kind``; ``kind: NAME`` in a model's YAML finds it,
and the contract suite in tests/contracts tests it. Files that begin with ``_`` are not kinds. Importing this package
loads no machine-learning library: each kind's file imports its own.
"""

from karat.kinds._calibration import Calibrator
from karat.kinds._contributions import Contributions
from karat.kinds._encoder import FEWEST_ROWS, MAX_CATEGORIES, Encoder, EncoderStatistics, learned_categories
from karat.kinds._find import KindFacts, check_declared, facts, load_kind, names
from karat.kinds._group_thresholds import GroupThresholds
from karat.kinds._kind import Kind, Report
from karat.kinds._model import EncodedRows, Model, parts_of
from karat.kinds._prediction_interval import ConformalInterval
from karat.kinds._shard import Batch, Checkpoints, LabelStatistics, NoCheckpoints, Shard, WorkerPlace, WriteFiles

__all__ = [
    "FEWEST_ROWS",
    "MAX_CATEGORIES",
    "Batch",
    "Calibrator",
    "Checkpoints",
    "ConformalInterval",
    "Contributions",
    "EncodedRows",
    "Encoder",
    "EncoderStatistics",
    "GroupThresholds",
    "Kind",
    "KindFacts",
    "LabelStatistics",
    "Model",
    "NoCheckpoints",
    "Report",
    "Shard",
    "WorkerPlace",
    "WriteFiles",
    "check_declared",
    "facts",
    "learned_categories",
    "load_kind",
    "names",
    "parts_of",
]
