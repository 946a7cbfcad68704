"""100 predictions a second for minutes while a replica is killed each minute: what fails, and how long answers take.

A platform of its own serves ``--champions`` copies of small models of three kinds. Requests are sent at fixed moments,
whether or not earlier ones are answered, and latency counts from that moment, so that a stall is not hidden. A request
that was sent before a kill and fails was in flight. One that was sent after it must be answered. ``p99`` leaves out the
``--window`` seconds after each kill.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import httpx
import numpy as np
import polars as pl
import psutil

from benchmarks.measure import Claim, conclude, versions
from infra.local.environment import use_platform
from infra.local.platform import down, up
from infra.serving import load_champions
from karat.client import FeatureEngineeringClient
from karat.kinds import Model
from karat.registry import open_registry
from karat.settings import Settings
from karat.training_sets.lookups import FeatureLookup

ROOT = Path(__file__).parent.parent
CATALOG, CUSTOMERS = "shop_dev", 60
KINDS = ("xgboost", "logistic_regression", "lightgbm")
#: What an answer may take outside of kills, and how long a replica may be away, in seconds.
P99_SECONDS, BACK_SECONDS = 0.05, 5.0


@dataclass(frozen=True)
class Sent:
    """One request: when it was to be sent, when it was answered, and with what (0: no answer)."""

    at: float
    answered: float
    status: int
    said: str = ""


@dataclass
class Kill:
    """One kill: when, whom, and when as many replicas as before were ready again."""

    at: float
    pid: int
    back: float | None = None
    statuses: Counter[str] = field(default_factory=Counter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=int, default=100, help="requests a second")
    parser.add_argument("--champions", type=int, default=40)
    parser.add_argument("--every", type=float, default=60, help="seconds between two kills; 0: nobody is killed")
    parser.add_argument("--window", type=float, default=10, help="seconds after a kill that p99 leaves out")
    parser.add_argument("--port", type=int, default=23600, help="the first of 40 free ports")
    parser.add_argument("--folder", type=Path, help="keep the platform and its models there for further runs")
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="karat-bench-"))
    try:
        with platform(folder, chosen.port, keep=chosen.folder is not None) as settings:
            began = time.monotonic()
            models = register(settings, chosen.champions)
            print(f"registered {len(models)} models in {time.monotonic() - began:.0f} s", flush=True)
            began = time.monotonic()
            load_champions(settings, dict.fromkeys(models, 1))
            print(f"{len(models)} champions answer after {time.monotonic() - began:.1f} s", flush=True)
            tell_memory(settings)
            sent, kills = asyncio.run(load(settings, models, chosen))
        tell(sent, kills, chosen)
    finally:
        if not chosen.folder:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def platform(folder: Path, first: int, *, keep: bool) -> Iterator[Settings]:
    """A platform with its own home and ports, stopped at the end unless it is to be kept."""
    names = ("prefect_port", "mlflow_port", "ray_dashboard_port", "serve_port", "console_port", "ray_gcs_port")
    ports = {name: first + place for place, name in enumerate(names)} | {"ray_port_base": first + 10}
    (folder / "projects").mkdir(parents=True, exist_ok=True)
    settings = Settings(home=folder / "home", projects=folder / "projects", **ports)  # type: ignore[arg-type]
    os.environ.update(settings.as_environment())
    use_platform(settings)
    try:
        began = time.monotonic()
        up(settings)
        print(f"the platform is up after {time.monotonic() - began:.1f} s", flush=True)
        yield settings
    finally:
        if not keep:
            down(settings)


def register(settings: Settings, count: int) -> list[str]:
    """Registers ``count`` models on one published table, or finds them; gives their names."""
    names = [f"{CATALOG}.models.model_{i}" for i in range(count)]
    if {*names} <= {str(name) for name in open_registry(settings).models(CATALOG)}:
        return names
    client, today = FeatureEngineeringClient(CATALOG, settings), datetime.now(UTC).date()
    generator = np.random.default_rng(0)
    rows = pl.DataFrame(
        {
            "customer": [f"c{c}" for c in range(CUSTOMERS) for _ in range(3)],
            "day": [today - timedelta(days=d) for _ in range(CUSTOMERS) for d in (1, 2, 3)],
            **{f"calls_{i}": generator.integers(0, 60, CUSTOMERS * 3) for i in range(20)},
        }
    )
    client.create_table("usage", ["customer", "day"], rows, timeseries_columns="day")
    client.publish_table("usage")
    spine = rows.select("customer", "day").with_columns(label=rows["calls_0"] > 30)
    lookup = FeatureLookup("usage", lookup_key=["customer", "day"])
    training = client.create_training_set(spine, [lookup], "label", exclude_columns=["customer", "day"])
    frame = training.load_df()
    fitted = [Model(kind, "binary").fit(frame.drop("label"), frame["label"]) for kind in KINDS]
    for i, name in enumerate(names):
        client.log_model(fitted[i % len(fitted)], training_set=training, registered_model_name=name)
    return names


async def load(settings: Settings, models: list[str], chosen: argparse.Namespace) -> tuple[list[Sent], list[Kill]]:
    """Sends the requests and kills replicas; gives what came of each."""
    seconds, sent, kills = chosen.minutes * 60, list[Sent](), list[Kill]()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as client:
        addresses = [f"{settings.serve_url}/v1/predict/{name}" for name in models]

        async def ask(at: float) -> None:
            body = {"entity_id": f"c{random.randrange(CUSTOMERS)}"}
            try:
                async with client.post(random.choice(addresses), json=body) as answer:
                    text = await answer.text()
                    said = "" if answer.status == 200 else text[:200]
                    sent.append(Sent(at, time.monotonic(), answer.status, said))
            except (aiohttp.ClientError, TimeoutError) as error:
                sent.append(Sent(at, time.monotonic(), 0, repr(error)[:200]))

        for _ in range(3 * len(models)):  # what each first answer has to import is not measured
            await ask(0)
        sent.clear()
        began, tasks = time.monotonic(), set[asyncio.Task[None]]()
        killing = asyncio.create_task(kill_replicas(settings, kills, chosen.every, seconds))
        for number in range(int(seconds * chosen.rate)):
            at = began + number / chosen.rate
            if (pause := at - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            tasks.add(task := asyncio.create_task(ask(at)))
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks, killing)
    return sent, kills


async def kill_replicas(settings: Settings, kills: list[Kill], every: float, seconds: float) -> None:
    """Kills a replica every so often, but for the last seconds, and sees when its successor is ready."""
    ends = time.monotonic() + seconds
    while every and time.monotonic() + every < ends:
        await asyncio.sleep(every / 2)
        before = await asyncio.to_thread(replicas, settings)
        victim = random.choice(before)
        kills.append(kill := Kill(time.monotonic(), victim.pid))
        victim.send_signal(signal.SIGKILL)
        while kill.back is None and time.monotonic() < kill.at + every / 2:
            await asyncio.sleep(0.2)
            now = await asyncio.to_thread(replicas, settings)
            if len(now) == len(before) and await asyncio.to_thread(all_ready, now):
                kill.back = time.monotonic()
        await asyncio.sleep(max(0.0, kill.at + every / 2 - time.monotonic()))


def replicas(settings: Settings) -> list[psutil.Process]:
    """The replicas of this platform."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        title = " ".join(process.info["cmdline"] or ())
        if "ServeReplica:karat:Api" not in title:
            continue
        try:
            if process.environ().get("KARAT_HOME") == str(settings.home):
                found.append(process)
        except psutil.Error:
            continue
    return found


def all_ready(processes: list[psutil.Process]) -> bool:
    """Whether each replica says on its own port that every champion is loaded."""
    try:
        for process in processes:
            if not any(is_ready(c.laddr.port) for c in process.net_connections("tcp") if c.status == "LISTEN"):
                return False
    except psutil.Error:
        return False
    return True


def is_ready(port: int) -> bool:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/health", timeout=0.5, trust_env=False)
        return answer.status_code == 200 and bool(answer.json()["ready"])
    except (httpx.HTTPError, ValueError, KeyError):
        return False


def tell_memory(settings: Settings) -> None:
    for process in replicas(settings):
        memory = process.memory_full_info()
        print(f"replica {process.pid}: PSS {memory.pss / 2**20:.0f} MiB, USS {memory.uss / 2**20:.0f} MiB", flush=True)


def tell(sent: list[Sent], kills: list[Kill], chosen: argparse.Namespace) -> None:
    """Prints the counts of each kill, and concludes."""

    def of(request: Sent) -> Kill | None:
        """The kill in whose window the request was on its way."""
        return next((k for k in kills if request.at < k.at + chosen.window and request.answered > k.at), None)

    flight = after = apart = 0
    quiet: list[float] = []
    for request in sent:
        kill = of(request)
        if kill is None:
            quiet.append(request.answered - request.at)
            apart += request.status != 200
            continue
        if request.status != 200:
            before = request.at <= kill.at
            flight, after = flight + before, after + (not before)
            kill.statuses[f"{'in flight' if before else 'after'}: {request.status} {request.said}"] += 1
    for kill in kills:
        back = "not in time" if kill.back is None else f"{kill.back - kill.at:.1f} s"
        slow = max((s.answered - s.at for s in sent if of(s) is kill), default=0.0)
        print(f"  kill of {kill.pid}: whole again after {back}; slowest answer {slow:.2f} s; {dict(kill.statuses)}")
    p50, p99 = (float(np.quantile(quiet, q)) for q in (0.5, 0.99))
    claims = [
        Claim("p99 outside of kills, over 50 ms", p99 / P99_SECONDS, 1),
        Claim("failed of those sent after a kill, and 1", 1 + after + apart, 1),
    ]
    if kills:
        longest = max(chosen.every if k.back is None else k.back - k.at for k in kills)
        claims.append(Claim("the longest time with a replica less, over 5 s", longest / BACK_SECONDS, 1))
    counts = {"sent": len(sent), "kills": len(kills), "in_flight": flight, "after_kill": after, "apart": apart}
    seconds = {"p50": [p50], "p99": [p99], "p99.9": [float(np.quantile(quiet, 0.999))]}
    conclude("replica_kills", claims, seconds, versions("ray", "xgboost", "lightgbm"), counts=counts)


if __name__ == "__main__":
    main()
