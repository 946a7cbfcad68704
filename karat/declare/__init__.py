"""What a project may say; all that ``projects`` imports besides Polars and NumPy."""

from karat.declare.base import Declaration, Duration
from karat.declare.checks import Check, OnFail, between, fresh, is_in, matches, not_null, unique, volume
from karat.declare.declared_model import DeclaredModel
from karat.declare.feature_tables import (
    DailyFeatureTable,
    EventFeatureTable,
    FeatureTable,
    LabelWindow,
    StaticFeatureTable,
)
from karat.declare.features import Feature, aggregate, from_event, from_polars, from_python, from_sql
from karat.declare.functions import DeclaredFunction, feature_function
from karat.declare.gold import Column, GoldTable
from karat.declare.models import ModelSpec
from karat.declare.project import Project, ProjectSpec
from karat.declare.project_reader import load_functions, load_project, project_names
from karat.dtypes import Dtype

__all__ = [
    "Check",
    "Column",
    "DailyFeatureTable",
    "Declaration",
    "DeclaredFunction",
    "DeclaredModel",
    "Dtype",
    "Duration",
    "EventFeatureTable",
    "Feature",
    "FeatureTable",
    "GoldTable",
    "LabelWindow",
    "ModelSpec",
    "OnFail",
    "Project",
    "ProjectSpec",
    "StaticFeatureTable",
    "aggregate",
    "between",
    "feature_function",
    "fresh",
    "from_event",
    "from_polars",
    "from_python",
    "from_sql",
    "is_in",
    "load_functions",
    "load_project",
    "matches",
    "not_null",
    "project_names",
    "unique",
    "volume",
]
