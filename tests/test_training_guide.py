"""The Python blocks of docs/training_sets.md run as they stand, one after the other."""

import linecache
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "training_sets.md"


def test_the_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KARAT_HOME", str(tmp_path))
    monkeypatch.setenv("KARAT_MLFLOW_PORT", "9")  # nobody listens there
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
    assert len(blocks) == 4
    names: dict[str, object] = {"__name__": "guide"}
    for number, block in enumerate(blocks):
        file = f"{PAGE.name}, block {number + 1}"
        # A feature function's source must be there to be hashed, as it is in a file or a notebook.
        linecache.cache[file] = (len(block), None, block.splitlines(keepends=True), file)
        exec(compile(block, file, "exec"), names)
