"""Proof that an MLflow server belongs to a home: it serves the token that lies in the home's artifact folder."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

import httpx

#: The token's file, in the folder of artifacts that the home's server serves.
TOKEN = "karat-home"
SECONDS = 3.0


def server_of_home(url: str, artifacts: Path, login: tuple[str, str] | None = None) -> bool:
    """Return whether the MLflow server at ``url`` serves ``artifacts``, this home's folder.

    The token holds the number of its own file. A copied home therefore gets a token of its own, and the server of the
    original does not pass for the copy's.

    Args:
        url: Address of an MLflow server.
        artifacts: The home's folder of artifacts.
        login: User and password of the home's server.
    """
    if not artifacts.parent.is_dir():  # no server and no registry was ever here
        return False
    try:
        artifacts.mkdir(exist_ok=True)
        mine = home_token(artifacts)
        served = _served(url, login)
        return bool(served) and served in {mine, home_token(artifacts)}  # another process may renew it meanwhile
    except OSError:
        return False


def _served(url: str, login: tuple[str, str] | None) -> str:
    """The token that the server answers with; "" without."""
    path = f"{url}/api/2.0/mlflow-artifacts/artifacts/{TOKEN}"
    tls = url.startswith("https")  # without it there is nothing to verify, and reading the certificates takes longest
    try:
        answer = httpx.get(path, timeout=SECONDS, verify=tls, auth=login, headers=_bearer())
    except httpx.HTTPError:
        return ""
    return answer.text if answer.status_code == 200 else ""


def home_token(artifacts: Path) -> str:
    """Return the home's token; it is made where there is none, or where the file is a copy.

    ``karat up`` asks for it before MLflow starts, so that a copied home never serves the token of its original.
    """
    path = artifacts / TOKEN
    try:
        text = path.read_text()
        if text.rpartition(" ")[2] == str(path.stat().st_ino):
            return text
    except FileNotFoundError:
        pass
    with tempfile.NamedTemporaryFile("w", dir=artifacts, prefix=f".{TOKEN}.", delete=False) as file:
        file.write(f"{secrets.token_hex(16)} {os.fstat(file.fileno()).st_ino}")
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
    return path.read_text()


def _bearer() -> dict[str, str]:
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}
