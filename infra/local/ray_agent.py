"""Ray's dashboard agent, without the log file that it keeps open for every job that it ever started.

``JobManager._get_job_driver_logger`` gives each job a logger with a file handler and never closes it (Ray 2.60): one
handle a job, until the agent has none left. ``infra.local.ray_head`` starts this program in place of the agent's own.
The raylet waits 15 s for the agent's port, so nothing of Ray is imported before the agent itself does so.
"""

from __future__ import annotations

import logging
import runpy
import sys
from pathlib import Path

JOB_LOG_PREFIX = "job-driver-"
_emit = logging.FileHandler.emit


def emit_and_close(handler: logging.FileHandler, record: logging.LogRecord) -> None:
    """Write a line; of a job's log, close the file, which the next line opens again."""
    _emit(handler, record)
    if handler.stream is not None and Path(handler.baseFilename).name.startswith(JOB_LOG_PREFIX):
        handler.stream.close()
        handler.stream = None


def main() -> None:
    """Run the agent's program, whose path and arguments are this one's."""
    vars(logging)["FileHandler"].emit = emit_and_close
    program = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(program).parent)
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
