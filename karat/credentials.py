"""Logins of the local platform's servers: made at the first ``karat up``, readable by their owner alone."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from karat.errors import PlatformError
from karat.settings import Settings

#: The user that every login is made for; the password differs for each server.
USER = "karat"
#: The servers that have a login of their own. Ray has a token: it knows no users.
SERVERS = ("prefect", "mlflow", "api")
#: Who registers deployments shows it besides Prefect's login: a login that starts runs does not say what they run.
REGISTRAR = "registrar"


class Login(NamedTuple):
    """A user and a password. ``str()`` hides the password; ``text`` is the form ``user:password``."""

    user: str
    password: str

    @property
    def text(self) -> str:
        """``user:password``, as it stands in its file and in Prefect's ``PREFECT_API_AUTH_STRING``."""
        return f"{self.user}:{self.password}"

    def __repr__(self) -> str:
        return f"Login({self.user!r}, ...)"

    def __str__(self) -> str:
        return repr(self)


def login_file(settings: Settings, server: str) -> Path:
    """The file of a server's login: one line, ``user:password``."""
    return settings.home / "credentials" / server


def make_logins(settings: Settings) -> None:
    """Write the logins that are not there yet. Those that are there stay, and become private again."""
    folder = login_file(settings, SERVERS[0]).parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    make_private(folder)
    for server in SERVERS:
        write_secret(login_file(settings, server), Login(USER, secrets.token_urlsafe(32)).text)
    write_secret(login_file(settings, REGISTRAR), secrets.token_urlsafe(32))


def write_secret(path: Path, text: str) -> None:
    """Write ``text`` for the owner alone, unless the file holds something already; then its rights are corrected."""
    if path.is_file() and path.stat().st_size:
        path.chmod(0o600)
        return
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)


def make_private(folder: Path) -> None:
    """Take everybody else's rights to ``folder`` away, whatever the umask was when it was made."""
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        with suppress(PermissionError):  # somebody else's folder, shared on purpose: theirs to close
            folder.chmod(0o700)


def prefect_login(settings: Settings) -> Login | None:
    """The login for Prefect's API; None where there is none or ``KARAT_AUTH`` is off."""
    user, colon, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    return _login(settings, "prefect", Login(user, password) if colon else None)


def mlflow_login(settings: Settings) -> Login | None:
    """The login for MLflow's server; None where there is none or ``KARAT_AUTH`` is off."""
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    return _login(settings, "mlflow", Login(user, password) if user and password else None)


def api_login(settings: Settings) -> Login | None:
    """The login for HTTP inference; None where it is open.

    Raises:
        PlatformError: It is closed, and the home has no login for it.
    """
    if settings.serve_is_open:
        return None
    if (login := _login(settings, "api", None)) is None:
        raise PlatformError(
            "HTTP inference asks for a login, and there is none",
            where=str(login_file(settings, "api")),
            remedy="karat up makes it; KARAT_SERVE_AUTH=off opens the service",
        )
    return login


def registrar_token(settings: Settings) -> str | None:
    """What a change of deployments and work pools must show; None where there is none or ``KARAT_AUTH`` is off."""
    file = login_file(settings, REGISTRAR)
    return file.read_text().strip() if settings.auth == "on" and file.is_file() else None


def use_mlflow_login(settings: Settings) -> None:
    """Give MLflow's client in this process the login of these settings' server: it reads the environment alone."""
    if login := mlflow_login(settings):
        os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = login


def _login(settings: Settings, server: str, given: Login | None) -> Login | None:
    """The home's file on this machine's own platform, the environment's for a platform elsewhere."""
    if settings.auth == "off":
        return None
    if given and not settings.loopback:
        return given
    with suppress(OSError):
        user, colon, password = login_file(settings, server).read_text().strip().partition(":")
        if colon:
            return Login(user, password)
    return given
