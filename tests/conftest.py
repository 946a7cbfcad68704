"""Fixtures of all rooms: settings with a home of their own, a lake, and the running platform."""

from __future__ import annotations

import base64
import gc
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from infra.local.environment import runtime_folder, use_platform
from infra.local.platform import down, up
from karat.lake import Lake
from karat.settings import Settings
from tests.mutants import tests_of_mutant
from tests.order import DurationsWriter, OnePlatform, asks_for_platform, sort_tests
from tests.profiles import load_profile
from tests.services import redis_server

__all__ = ["redis_server"]
ROOT = Path(__file__).parent.parent


SERVICES = ("KARAT_", "PREFECT_", "MLFLOW_", "RAY_")
#: The variables that the running platform's fixture has changed in this process: name -> what it was before.
PUT_BY_PLATFORM: dict[str, str | None] = {}
#: The running platform, if there is one.
RUNNING = ExitStack()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-durations", action="store_true", help="write tests/durations.json, by which files go")


def pytest_configure(config: pytest.Config) -> None:
    """Tests see neither the settings of the shell nor the platform that may run on the usual ports."""
    load_profile()
    if config.getoption("--write-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(DurationsWriter())
    for name in [n for n in os.environ if n.startswith(SERVICES)]:
        del os.environ[name]
    os.environ.update({f"KARAT_{name}".upper(): str(port) for name, port in free_ports().items()})


def on_platform(item: pytest.Item) -> bool:
    return "platform" in getattr(item, "fixturenames", ())


@pytest.hookimpl(trylast=True)  # after those that shuffle
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    sort_tests(items, shuffled=config.getoption("random_order_enabled", False))
    tests_of_mutant(config, items)


def pytest_collection_finish() -> None:
    """What is there now stays: to look through it for garbage again and again takes a seventh of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.hookimpl(optionalhook=True)  # `-p no:xdist` runs in one process
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return OnePlatform(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Who does not ask for the platform does not find it by chance: its variables are out of sight meanwhile, for
    fixtures of every scope."""
    if "PYTEST_XDIST_WORKER" in os.environ and not asks_for_platform(item.path):
        lower_priority()
    hidden = {} if on_platform(item) else {name: os.environ.get(name) for name in PUT_BY_PLATFORM}
    put({name: PUT_BY_PLATFORM[name] for name in hidden})
    try:
        return (yield)
    finally:
        put(hidden)
        if nextitem is not None and not asks_for_platform(nextitem.path):
            RUNNING.close()  # no test to come asks for the platform, and idle it takes a fifth of a core


@cache
def lower_priority() -> None:
    """From now on this worker yields to the one with the platform, whose tests take longest and wait for services."""
    os.nice(10)


def put(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """``make faults`` ends with a line of its own, behind pytest's."""
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    options = session.config.option
    if reporter is not None and options.markexpr == "faults" and not options.collectonly:
        reporter.ensure_newline()
        reporter.write_line(faults_line({outcome: len(found) for outcome, found in reporter.stats.items()}))
    return result


def faults_line(outcomes: Mapping[str, int]) -> str:
    """What survived is what passed; a fault that could not be tried was not survived."""
    lost = sum(outcomes.get(outcome, 0) for outcome in ("failed", "error", "skipped", "xfailed"))
    return f"faults: {outcomes.get('passed', 0)} survived, {lost} not"


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def free_block(size: int) -> int:
    """The first of ``size`` ports in a row that nobody listens on, below those that Serve and the kernel give out."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    starts = list(range(22000 + worker * size, 29900, 4 * size))  # no two workers choose the same
    random.SystemRandom().shuffle(starts)
    return next(start for start in starts if all(is_free(start + i) for i in range(size)))


def free_ports() -> dict[str, int]:
    """A port for every setting that names one."""
    first = free_block(40)
    names = ("prefect_port", "mlflow_port", "ray_dashboard_port", "serve_port", "console_port", "ray_gcs_port")
    return {name: first + place for place, name in enumerate(names)} | {"ray_port_base": first + 10}


def settings_for(home: Path, **more: object) -> Settings:
    """Settings of a platform of its own: its home, free ports, the repository's projects."""
    slow = {"job_pending_seconds": 120.0}  # three workers share the machine with the platform
    return Settings(**({"home": home, "projects": ROOT / "projects"} | slow | free_ports() | more))  # type: ignore[arg-type]


#: The smallest PNG: one pixel.
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
#: Matplotlib's own, for the tests of pictures.
SAVE_FIGURE = Figure.savefig


def save_pixel(figure: Figure, path: Path, **how: object) -> None:
    """Saves one pixel in place of a PNG: rendering would take most of a training's time. Other formats are drawn."""
    if Path(path).suffix == ".png":
        Path(path).write_bytes(PIXEL)
    else:
        SAVE_FIGURE(figure, path, **how)


@pytest.fixture(scope="session", autouse=True)
def no_pictures() -> Iterator[None]:
    """Figures are made, but not rendered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_pixel)
        yield


@pytest.fixture(scope="session")
def bare_versions() -> Iterator[Callable[..., object]]:
    """Versions are registered without the plots of their training, which take a third of the time. Their tests ask for
    ``pictures``."""
    from karat.lifecycle import version_entry

    real = version_entry._draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(version_entry, "_draw", lambda run, folder: [])
        yield real


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch, bare_versions: Callable[..., object]) -> None:
    """Figures are drawn and rendered: for the tests of pictures."""
    monkeypatch.setattr(Figure, "savefig", SAVE_FIGURE)
    monkeypatch.setattr("karat.lifecycle.version_entry._draw", bare_versions)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """Settings whose home is empty; no server runs."""
    made = settings_for(tmp_path / "home")
    yield made
    shutil.rmtree(runtime_folder(made), ignore_errors=True)


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """An empty lake of the environment ``dev``."""
    return Lake(settings.lake, settings.environment)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory, bare_versions: object) -> Path:
    """MLflow takes seconds to make its tables: once for all tests, which copy it to ``mlflow/mlflow.db`` in a home."""
    from karat.registry import Registry

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    assert list(Registry(f"sqlite:///{path}").client.search_registered_models()) == []
    return path


@pytest.fixture(scope="session")
def platform() -> Iterator[Settings]:
    """The running platform, the same for all tests that ask for it; this process is its client meanwhile. Its projects
    are a copy of the repository's: a test may make one of its own among them.

    Mark such tests with ``@pytest.mark.platform``.
    """
    with RUNNING:
        yield RUNNING.enter_context(running_platform())


@contextmanager
def running_platform() -> Iterator[Settings]:
    before = dict(os.environ)
    folder = Path(tempfile.mkdtemp(prefix="karat-test-", dir="/tmp"))
    shutil.copytree(ROOT / "projects", folder / "projects", ignore=shutil.ignore_patterns("__pycache__"))
    made = settings_for(folder / "home", projects=folder / "projects")
    # Ray gives its workers the least priority, behind the tests that need no platform: those that do would wait.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - the name of Ray
    try:
        up(made)
        use_platform(made)  # as a client on this machine: with the logins that karat up has made
        changed = {n for n in before.keys() | os.environ.keys() if before.get(n) != os.environ.get(n)}
        PUT_BY_PLATFORM.update({name: before.get(name) for name in changed})
        yield made
    finally:
        down(made)
        PUT_BY_PLATFORM.clear()
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(made.home.parent, ignore_errors=True)
        shutil.rmtree(runtime_folder(made), ignore_errors=True)
