"""Ray's dashboard agent, without the log file that it keeps open for every job that it ever started.

``JobManager._get_job_driver_logger`` gives each job a logger with a file handler and never closes it (Ray 2.60): one
handle a job, until the agent has none left. ``infra.local.ray_head`` starts this program in place of the agent's own.
"""

from __future__ import annotations

import logging
import runpy
import sys
from pathlib import Path

from ray.dashboard.modules.job import job_manager


class ClosingFileHandler(logging.FileHandler):
    """A file handler that has its file open only while it writes a line."""

    def __init__(self, filename: str) -> None:
        super().__init__(filename, delay=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, and close the file."""
        super().emit(record)  # within the handler's lock, and reopened by the next line
        if self.stream is not None:
            self.stream.close()
            self.stream = None


class JobManagerLogging:
    """The part of the ``logging`` module that Ray's job manager uses, with a file handler that closes its file."""

    FileHandler = ClosingFileHandler

    def __getattr__(self, name: str) -> object:
        return getattr(logging, name)


def main() -> None:
    """Run the agent's program, whose path and arguments are this one's."""
    vars(job_manager)["logging"] = JobManagerLogging()
    program = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(program).parent)
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
