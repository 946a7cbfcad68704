"""Project catalog: the projects by the catalog of their tables."""

from __future__ import annotations

import threading

from karat.declare.feature_tables import EventFeatureTable
from karat.declare.project import Project
from karat.declare.project_reader import load_project
from karat.errors import UnknownProject
from karat.names import TableName, project_of
from karat.settings import Settings


class ProjectCatalog:
    """The projects under ``KARAT_PROJECTS`` by catalog, each loaded once; ``given`` projects need not be there."""

    def __init__(self, settings: Settings | None = None, *given: Project) -> None:
        self._settings = settings
        self._found: dict[str, Project | None] = {p.catalog: p for p in given}
        self._loading = threading.Lock()

    def of(self, table: TableName) -> Project | None:
        """The project that declares ``table``; None if none does.

        Raises:
            DeclarationError: The project's declarations are wrong.
        """
        with self._loading:
            if table.catalog not in self._found:
                try:
                    self._found[table.catalog] = load_project(project_of(table.catalog), self._settings)
                except UnknownProject:
                    self._found[table.catalog] = None
            project = self._found[table.catalog]
        declares = project is not None and project.catalog == table.catalog and table.table in project.tables
        return project if declares and table.schema == "features" else None

    def event_table(self, table: TableName) -> tuple[Project, EventFeatureTable] | None:
        """The declaration of ``table`` if it has a row per event."""
        project = self.of(table)
        declared = project.tables[table.table] if project is not None else None
        return (project, declared) if project is not None and isinstance(declared, EventFeatureTable) else None
