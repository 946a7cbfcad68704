from __future__ import annotations

import os
import stat

import pytest

from infra.local.environment import (
    make_credentials,
    make_folders,
    platform_environment,
    runtime_folder,
    token_file,
    use_platform,
)
from karat.errors import PlatformError
from karat.settings import Settings


def mode(path: os.PathLike) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_token_is_for_its_owner_alone_and_stays(settings: Settings) -> None:
    make_folders(settings)
    make_credentials(settings)
    token = token_file(settings).read_text()
    assert len(token) >= 32
    assert mode(token_file(settings)) == 0o600
    token_file(settings).chmod(0o644)
    make_credentials(settings)
    assert (token_file(settings).read_text(), mode(token_file(settings))) == (token, 0o600)


def test_runtime_folder_is_short_private_and_one_for_each_home(settings: Settings) -> None:
    make_folders(settings)
    assert len(str(runtime_folder(settings))) < 40
    assert mode(runtime_folder(settings)) == 0o700
    other = settings.model_copy(update={"home": settings.home / "other"})
    assert runtime_folder(other) != runtime_folder(settings)


def test_runtime_folder_that_others_may_enter_is_refused(settings: Settings) -> None:
    runtime_folder(settings).mkdir(mode=0o700)
    runtime_folder(settings).chmod(0o755)
    with pytest.raises(PlatformError, match="others may enter"):
        make_folders(settings)


def test_settings_survive_the_way_through_the_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in platform_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_use_platform_takes_out_what_leads_elsewhere(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in platform_environment(settings):
        monkeypatch.setenv(name, "")  # so that what use_platform sets is taken back
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setenv("NO_PROXY", "intranet")
    use_platform(settings)
    assert "RAY_ADDRESS" not in os.environ
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["MLFLOW_TRACKING_URI"] == settings.mlflow_url
    assert os.environ["NO_PROXY"].split(",") == ["intranet", "127.0.0.1", "localhost"]
