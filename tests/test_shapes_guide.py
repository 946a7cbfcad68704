"""docs/shapes.md is followed word by word, in this process: its files are made, its edits done, its commands typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from infra.cli.app import main
from tests.test_csv_guide import _compare, _typed

PAGE = Path(__file__).parents[1] / "docs" / "shapes.md"


def test_every_shape_gets_from_its_file_to_a_judged_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KARAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KARAT_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setattr("infra.cli.app.console.width", 120, raising=False)
    tried, edited = 0, 0
    for _, language, file, text in re.findall(r"^(```)(\w*) ?(\S*)\n(.*?)^```$", PAGE.read_text(), flags=re.M | re.S):
        if language == "python":
            exec(compile(text, PAGE.name, "exec"), {})
        elif language == "diff":
            before, after = (
                "".join(f"{line[1:]}\n" for line in text.splitlines() if line[:1] != gone) for gone in "+-"
            )
            path = tmp_path / file
            assert path.read_text().count(before) == 1, f"{file} has no lines\n{before}"
            path.write_text(path.read_text().replace(before, after))
            edited += sum(line[:1] in "+-" for line in text.splitlines())
        else:
            for command, shown in _typed(text):
                with pytest.raises(SystemExit) as stop:
                    main(shlex.split(command)[1:])
                out = capsys.readouterr()
                assert not stop.value.code, f"{command}\n{out.out}{out.err}"
                _compare(shown, out.out, command)
                if " try " in command:
                    tried += 1
                    assert "rows: better than the baseline" in out.out, f"{command}\n{out.out}"
    assert tried == 5
    assert edited < 10
