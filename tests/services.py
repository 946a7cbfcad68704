"""Servers that tests need and start themselves, each on a free port of the loopback and with its data in a folder of
its own."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from karat.settings import Settings

#: Debian's package of that name; where it comes from is the machine's own business.
PACKAGE = "redis-server"


@dataclass
class RedisServer:
    """A Redis with a password. ``stop`` and ``start`` take it away and bring it back, empty."""

    port: int
    folder: Path
    password: str = field(default_factory=lambda: secrets.token_hex(8), repr=False)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        own = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.folder),
            "--requirepass",
            self.password,
        ]
        quiet = ["--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", str(self.folder / "redis.log")]
        self.process = subprocess.Popen([PACKAGE, *own, *quiet, *options])
        client, deadline = redis.Redis.from_url(self.url), time.monotonic() + 20
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert self.process.poll() is None, (self.folder / "redis.log").read_text()
                assert time.monotonic() < deadline, "Redis did not answer in time"
                time.sleep(0.02)
        client.close()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def install_redis() -> str | None:
    """Sees that the package is there; gives the reason where it can't be had."""
    with (Path(tempfile.gettempdir()) / f"karat-install-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests' other worker installs it at the same time
        if shutil.which(PACKAGE):
            return None
        if not shutil.which("apt-get") or os.geteuid() != 0:
            return f"{PACKAGE} is not there and can't be installed by this user: apt-get install {PACKAGE}"
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--yes", "--no-install-recommends", PACKAGE]):
            done = subprocess.run(["apt-get", *command], check=False, env=environment, capture_output=True, timeout=300)
        said = done.stderr.decode(errors="replace").strip()[-300:]
        return None if shutil.which(PACKAGE) else f"apt-get could not install {PACKAGE}: {said}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def use_store(kind: str, settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """``settings`` with an empty online store of this kind, whose server runs if it needs one."""
    settings.online.kind = kind
    if kind == "redis":
        settings.online.url = SecretStr(request.getfixturevalue("redis_server").url)
        settings.online.namespace = f"test-{uuid.uuid4().hex[:12]}"
    return settings


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for all tests of the session. Where CI runs them its absence is a failure, else they are skipped."""
    reason = install_redis()
    if reason:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    server = RedisServer(free_port(), tmp_path_factory.mktemp("redis"))
    try:
        server.start()
        yield server
    finally:
        server.stop()
