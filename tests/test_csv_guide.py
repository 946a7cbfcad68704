"""docs/from-csv-to-champion.md is followed word by word: its programs run, its edits are made, its commands are typed,
in their order, and what it shows comes out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from infra.deployments import register
from infra.local.environment import platform_environment
from karat.settings import Settings
from tests.warm_karat import karat_command

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "from-csv-to-champion.md"


class Block(NamedTuple):
    """``language`` and ``file`` are what stands behind the fence."""

    line: int
    language: str
    file: str
    text: str


def blocks() -> list[Block]:
    page = PAGE.read_text()
    found = re.finditer(r"^```(\w*) ?(\S*)\n(.*?)^```$", page, flags=re.M | re.S)
    return [Block(page[: m.start()].count("\n") + 1, m[1], m[2], m[3]) for m in found]


class Reader:
    """Somebody who reads the guide in the folder that holds ``projects``; ``karat`` is on the path."""

    def __init__(self, settings: Settings, bin: Path) -> None:
        self.settings, self.folder = settings, settings.projects.parent
        self.said: dict[str, str] = {}
        self.karat = bin / "karat"
        self.environment = os.environ | platform_environment(settings)
        self.environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "120", "NO_COLOR": "1"}
        self.environment["PATH"] = f"{bin}{os.pathsep}{os.environ['PATH']}"

    def follow(self, block: Block) -> None:
        if block.language == "python":
            self._run([sys.executable, "-c", block.text], block)
        elif block.language == "diff":
            self._edit(block)
        else:
            assert block.language == "console", f"{PAGE.name}:{block.line}: who is to do what with {block.language!r}?"
            for command, shown in _typed(block.text):
                said = self.said[command] = self._run(["bash", "-c", self._here(command)], block)
                _compare(shown, said, f"{PAGE.name}:{block.line}: {command}")

    def _here(self, command: str) -> str:
        """The test's platform has ports of its own."""
        return command.replace("localhost:8000", f"{self.settings.host}:{self.settings.serve_port}")

    def _run(self, command: list[str], block: Block) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, f"{PAGE.name}:{block.line}: {command[-1]}\n{done.stdout}"
        return done.stdout

    def _edit(self, block: Block) -> None:
        """Lines with + come in, those with - go; the others say where."""
        path, lines = self.folder / block.file, block.text.splitlines()
        before, after = ("".join(f"{line[1:]}\n" for line in lines if line[:1] != gone) for gone in "+-")
        assert path.read_text().count(before) == 1, f"{PAGE.name}:{block.line}: {block.file} has no lines\n{before}"
        path.write_text(path.read_text().replace(before, after))


def _typed(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command behind a $, and the lines that are shown below it."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, shown = part.partition("\n")
        while command.endswith("\\"):
            more, _, shown = shown.partition("\n")
            command = command[:-1] + more.strip()
        yield command, shown.splitlines()


def _compare(shown: list[str], said: str, where: str) -> None:
    """... is any text in a line, and any lines where it stands alone; nothing shown: it does not matter."""
    if not shown:
        return
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else re.escape(line.rstrip()).replace(r"\.\.\.", ".*") + r" *\n"
        for line in shown
    )
    assert re.fullmatch(pattern, said.strip("\n").rstrip() + "\n"), (
        f"{where}\nthe guide shows\n{chr(10).join(shown)}\nit said\n{said}"
    )


@pytest.fixture
def reader(platform: Settings, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(platform, tmp_path / "bin")
    with karat_command(reader.karat):
        yield reader
    shutil.rmtree(platform.projects / "bakery", ignore_errors=True)
    register(platform)


@pytest.mark.platform
def test_from_a_csv_file_to_a_served_champion(reader: Reader) -> None:
    for block in blocks():
        reader.follow(block)
    settings, ran = reader.settings, reader.said["karat run bakery"]
    assert "features-bakery: Completed" in ran
    for address in (settings.prefect_url, settings.mlflow_url, settings.ray_dashboard_url, settings.serve_url):
        assert address in ran
    example = next(line for line in ran.splitlines() if "curl" in line).removeprefix("try").strip()
    answer = subprocess.run(example, shell=True, capture_output=True, text=True, check=True)
    assert 0 < json.loads(answer.stdout)["predicted_value"] < 1

    command = [reader.karat, "runs", "--json"]
    listed = subprocess.run(command, env=reader.environment, capture_output=True, text=True, check=False)
    assert listed.returncode == 0, listed.stderr
    latest = next(r for r in json.loads(listed.stdout) if r["project"] == "bakery")
    assert (latest["flow"], latest["state"]) == ("master-orchestrator", "Completed")
    assert latest["id"] in ran
