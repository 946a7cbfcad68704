"""``karat new``: what it writes is sound, tidy, and does what it says."""

from __future__ import annotations

import ast
import io
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import date, timedelta
from fnmatch import fnmatch
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from infra.cli.app import main
from infra.cli.new import Task
from infra.new.columns import columns_of
from infra.new.model import KINDS
from karat.declare import Project, load_project
from karat.declare.declared_model import DeclaredModel
from karat.features import compute_frame
from karat.lake import Lake
from karat.quality import check, ingest, write_sample
from karat.settings import Settings
from karat.training.evaluation import evaluate
from karat.training.split import split_rows
from karat.training_sets.labels import label_spine
from tests.projects.conftest import Bench

ROOT = Path(__file__).parents[2]
END = date(2026, 11, 20)
Call = Callable[..., tuple[int, str]]


def typed(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status, and both outputs."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    out = capsys.readouterr()
    return int(stop.value.code or 0), out.out + out.err


@pytest.fixture
def karat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """karat("new", "project", "shop") -> exit status and text; projects is a folder that is not there yet."""
    monkeypatch.setenv("KARAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KARAT_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setattr("infra.cli.app.console.width", 200, raising=False)
    return lambda *arguments: typed(arguments, capsys)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A new project with its sample and its features."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KARAT_PROJECTS", str(folder / "projects"))
        with pytest.raises(SystemExit):
            main(["new", "project", "shop"])
    settings = Settings(home=folder / "home", projects=folder / "projects")
    bench = Bench(load_project("shop", settings), Lake(settings.lake, settings.environment))
    write_sample(bench.project, bench.lake, scale=0.4, end=END)
    bench.features()
    return bench


@pytest.fixture
def shop(made: Bench, tmp_path: Path) -> Path:
    """The folder of a new project."""
    copied = tmp_path / "projects" / "shop"
    return shutil.copytree(made.project.path, copied, ignore=shutil.ignore_patterns("__pycache__"))


def loaded(folder: Path) -> Project:
    return load_project(folder.name, Settings(projects=folder.parent, home=folder.parents[1] / "home"))


def files(folder: Path) -> dict[str, str]:
    found = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {str(p.relative_to(folder)): p.read_text() for p in found}


def untidy(folder: Path) -> str:
    """What the house's formatter and linter say of the files; declarations need no docstrings."""
    said = ""
    for command in (["check", "--extend-ignore", "D,N,SLF"], ["format", "--check", "--diff"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "--config", str(ROOT / "pyproject.toml")]
        done = subprocess.run([*ruff, str(folder)], capture_output=True, text=True, check=False)
        said += done.stdout + done.stderr if done.returncode else ""
    return said


def test_a_new_project_is_sound_and_says_what_it_is_and_what_comes_next(karat: Call, tmp_path: Path):
    status, said = karat("new", "project", "shop")
    assert status == 0
    folder = tmp_path / "projects" / "shop"
    expected = {"project.yaml", "gold.py", "features/customer_orders.py", "models/comes_back.yaml"}
    assert files(folder).keys() == expected
    assert all(name in said for name in expected)
    assert "karat run shop" in said
    status, said = karat("check", "shop")
    assert (status, said.strip()) == (0, "shop: 2 gold tables, 1 feature table, 1 model: sound")


LONG = ("--table", "deliveries_to_the_door_of_a_household", "--entity", "number_of_the_household_in_the_book")


@pytest.mark.parametrize("options", [(), LONG], ids=["short", "long"])
def test_what_is_written_is_tidy_and_imports_what_projects_may(karat: Call, tmp_path: Path, options: tuple[str, ...]):
    assert karat("new", "project", "shop", *options)[0] == 0
    folder = tmp_path / "projects" / "shop"
    assert untidy(folder) == ""
    for path in folder.rglob("*.py"):
        imports = [n.module or "" for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
        assert set(imports) <= {"__future__", "datetime", "karat.declare"}


def test_every_template_is_packaged():
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    templates = list((ROOT / "infra").rglob("*.j2"))
    assert templates
    for path in templates:
        assert any(fnmatch(str(path.relative_to(ROOT / "infra")), pattern) for pattern in packaged["infra"])


def test_every_task_can_be_asked_for():
    assert set(KINDS) == set(Task.__args__)  # type: ignore[attr-defined]


def test_the_sample_keeps_its_contract_and_a_later_end_changes_nothing_before(made: Bench):
    assert made.project.sample is not None
    rows = made.project.sample(scale=0.2, seed=1, end=END)
    for name, frame in rows.items():
        assert check(frame, made.project.gold[name]).reasons == {}
    assert rows["orders"].equals(made.project.sample(scale=0.2, seed=1, end=END)["orders"])
    assert not rows["orders"].equals(made.project.sample(scale=0.2, seed=2, end=END)["orders"])
    later = made.project.sample(scale=0.2, seed=1, end=END + timedelta(days=5))["orders"]
    first = later["happened_at"].min()
    assert later.filter(pl.col("happened_at").dt.date() <= END).equals(
        rows["orders"].filter(pl.col("happened_at") >= first)
    )


def test_the_planted_truth_is_the_chance_of_what_comes(made: Bench):
    """Of the days with a chance of about p, a share of about p has an order in the week after."""
    days = made.gold("orders_truth").filter(pl.col("day") <= END - timedelta(days=7))
    orders = made.gold("orders").select("customer_id", day=pl.col("happened_at").dt.date()).unique()
    ahead = pl.concat(orders.with_columns(pl.col("day") - timedelta(days=back)) for back in range(1, 8)).unique()
    seen = days.join(ahead.with_columns(came=pl.lit(1)), on=["customer_id", "day"], how="left")
    fifths = seen.group_by((pl.col("chance") * 5).floor()).agg(
        said=pl.col("chance").mean(), came=pl.col("came").fill_null(0).mean()
    )
    assert fifths.height == 5
    assert (fifths["said"] - fifths["came"]).abs().max() < 0.05


def test_the_new_model_beats_its_baseline_and_comes_near_the_truth_but_not_to_it(made: Bench):
    trained = made.train("comes_back")
    spec = made.project.models["comes_back"]
    spine = label_spine(DeclaredModel(made.project, spec), made.lake)
    test = spine.filter(split_rows(spine, spec, time="day", entity=["customer_id"]) == "test")
    known = test.join(made.gold("orders_truth"), on=["customer_id", "day"], how="left")
    best = evaluate("binary", known[spec.labelled.name], known["chance"].to_numpy())["roc_auc"]
    assert trained.baseline["roc_auc"] == 0.5
    assert 0.7 < (trained.metrics["roc_auc"] - 0.5) / (best - 0.5) < 1


def test_features_of_three_orders_by_hand(made: Bench):
    table, source = made.project.tables["customer_orders"], made.project.gold["orders"]
    orders = pl.DataFrame(
        {
            "order_id": ["a", "b", "c", "d"],
            "customer_id": ["c1", "c1", "c1", "c2"],
            "happened_at": pl.Series(
                ["2026-01-01T09:00:00Z", "2026-01-05T09:00:00Z", "2026-01-05T18:00:00Z", "2026-01-08T08:00:00Z"]
            ).str.to_datetime(),
            "amount": [10.0, 20.0, None, 5.0],
            "channel": ["web", "shop", "web", "web"],
        }
    )
    rows = {
        r["day"].day: r
        for r in compute_frame(table, orders, source=source).iter_rows(named=True)
        if r["customer_id"] == "c1"
    }
    assert (rows[5]["orders_7d"], rows[5]["orders_28d"], rows[5]["amount_7d"]) == (3, 3, 30.0)
    assert (rows[8]["orders_7d"], rows[8]["amount_7d"], rows[8]["amount_28d"]) == (2, 20.0, 30.0)
    assert rows[8]["amount_trend"] == pytest.approx(20 / 30 * 4 - 1)
    assert [rows[d]["days_since_last"] for d in (1, 4, 5, 8)] == [0, 3, 0, 3]
    assert rows[8]["distinct_channel_28d"] == 2
    assert rows.keys() == set(range(1, 9))


MEMBERS = """from karat.declare import Column, GoldTable

members = GoldTable(
    name="members",
    description="One row a member",
    owner="club",
    key=("member",),
    columns={
        "member": Column(dtype="string"),
        "city": Column(dtype="string"),
        "age": Column(dtype="int64"),
        "paid": Column(dtype="float64", description="Dollars so far"),
        "left_club": Column(dtype="bool"),
    },
)
"""


@pytest.fixture
def club(shop: Path) -> Path:
    """The shop, with a gold table without time."""
    (shop / "gold").mkdir()
    (shop / "gold" / "members.py").write_text(MEMBERS)
    return shop


def test_features_of_a_table_without_time_are_its_columns(karat: Call, club: Path):
    status, said = karat("new", "features", "member_facts", "--project", "shop", "--gold", "members")
    assert status == 0, said
    assert untidy(club) == ""
    table = loaded(club).tables["member_facts"]
    assert (table.time, table.entity) == (None, ("member",))
    assert {f.name: f.dtype for f in table.stored} == {
        "city": "string",
        "age": "int64",
        "paid": "float64",
        "left_club": "bool",
    }


def test_a_model_on_columns_of_a_row_does_not_read_its_label(karat: Call, club: Path):
    karat("new", "features", "member_facts", "--project", "shop", "--gold", "members")
    status, said = karat("new", "model", "leaves", "--project", "shop", "--features", "member_facts")
    assert status == 0, said
    assert "label left_club, task binary" in said
    spec = loaded(club).models["leaves"]
    assert spec.lookups[0].exclude == ("left_club",)
    assert (spec.split.by, spec.label.expression) == ("entity", "(left_club)::int")
    assert karat("new", "model", "pays", "-p", "shop", "--features", "member_facts", "--label", "paid > 3")[0] == 0
    assert loaded(club).models["pays"].lookups[0].exclude == ("paid",)


@pytest.mark.parametrize(("gold", "keys"), [("customers", ("customer_id",)), ("transactions", ("customer_id",))])
def test_features_on_a_gold_table_of_a_grown_project(karat: Call, tmp_path: Path, gold: str, keys: tuple[str, ...]):
    copied = tmp_path / "projects" / "customers"
    shutil.copytree(ROOT / "projects" / "customers", copied, ignore=shutil.ignore_patterns("__pycache__"))
    status, said = karat("new", "features", "first", "-p", "customers", "--gold", gold)
    assert status == 0, said
    assert untidy(copied) == ""
    assert loaded(copied).tables["first"].entity == keys


@pytest.fixture(scope="module")
def small(made: Bench, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A smaller sample of it, with its features."""
    bench = Bench(made.project, Lake(tmp_path_factory.mktemp("small") / "lake", "dev"))
    write_sample(bench.project, bench.lake, scale=0.05, end=END)
    bench.features()
    return bench.lake


TASKS = {
    "regression": (),
    "binary": (),
    "multiclass": (),
    "multilabel": ("--label", "web=bool_or(channel = 'web')", "--label", "big=sum(amount) > 50"),
    "anomaly": (),
    "clustering": (),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_model_of_every_task_learns(karat: Call, shop: Path, small: Lake, tmp_path: Path, task: str):
    status, said = karat(
        "new", "model", "first", "--project", "shop", "--task", task, *TASKS[task], "--domain", "trial"
    )
    assert status == 0, said
    bench = Bench(loaded(tmp_path / "projects" / "shop"), small)
    spec = bench.project.models["first"]
    assert (spec.task, spec.kind, spec.domain, spec.owner) == (
        task,
        KINDS[task],
        "trial",
        bench.project.gold["orders"].owner,
    )
    trained = bench.train("first")
    assert trained.spec.primary_metric in trained.metrics


def test_a_forecast_reads_sequences_and_must_beat_the_mean_of_the_days_before(karat: Call, shop: Path):
    status, said = karat("new", "model", "course", "--project", "shop", "--task", "forecast", "--domain", "trial")
    assert status == 0, said
    spec = loaded(shop).models["course"]
    assert (spec.kind, spec.lookups[0].sequence_length, spec.label.steps) == (KINDS["forecast"], 28, 7)
    assert (spec.baseline.feature, spec.baseline.scale) == ("amount_28d", round(1 / 28, 6))


def test_a_regression_must_beat_the_longest_past_at_the_pace_of_a_day(karat: Call, shop: Path):
    assert karat("new", "model", "spends", "--project", "shop", "--label", "sum(amount)", "--horizon", "14d")[0] == 0
    spec = loaded(shop).models["spends"]
    assert (spec.task, spec.label.default, spec.label.name) == ("regression", 0, "amount_next_14d")
    assert (spec.baseline.feature, spec.baseline.scale) == ("amount_28d", 0.5)


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (("project", "shop"), "AlreadyThere", "nothing is overwritten"),
        (("project", "my-shop"), "InvalidName", "as in 'my_shop'"),
        (("project", "p" * 41), "InvalidName", "40 letters are the most"),
        (("project", "import"), "InvalidName", "a word of Python or SQL"),
        (("project", "a", "--table", "select"), "InvalidName", "a word of Python or SQL"),
        (("project", "a", "--key", "b"), "WrongCall", "--from FILE"),
        (("project", "a", "--from", "no.csv"), "InputNotFound", "there is no file"),
        (("project", "a", "--timezone", "Europe/Berln"), "DeclarationError", "Did you mean 'Europe/Berlin'?"),
        (("features", "customer_orders", "-p", "shop"), "AlreadyThere", "a feature table 'customer_orders'"),
        (("features", "f", "-p", "shopp"), "UnknownProject", "Did you mean 'shop'?"),
        (("features", "f", "-p", "shop", "--gold", "order"), "TableNotFound", "Did you mean 'orders'?"),
        (("features", "f", "-p", "shop", "--gold", "orders_truth"), "WrongCall", "features may not read"),
        (
            ("features", "f", "-p", "shop", "--gold", "orders", "--entity", "custmer_id"),
            "ColumnMissing",
            "'customer_id'",
        ),
        (("model", "comes_back", "-p", "shop"), "AlreadyThere", "a model 'comes_back'"),
        (("model", "m", "-p", "shop", "--kind", "xgbost"), "DeclarationError", "Did you mean 'xgboost'?"),
        (("model", "m", "-p", "shop", "--task", "binary", "--kind", "kmeans"), "DeclarationError", "kmeans"),
        (("model", "m", "-p", "shop", "--label", "sum(amont)"), "LabelNotFound", "Did you mean 'amount'?"),
        (("model", "m", "-p", "shop", "--label", "amount"), "DeclarationError", "write an aggregate"),
        (("model", "m", "-p", "shop", "--features", "customer_order"), "TableNotFound", "'customer_orders'"),
        (("model", "m", "-p", "shop", "--horizon", "1h"), "WrongCall", "--gold orders --grain event"),
        (("features", "f", "-p", "shop", "--windows", "36h"), "WrongCall", "--grain event for windows of hours"),
        (("features", "f", "-p", "shop", "--columns", "amont"), "ColumnMissing", "'amount'"),
        (("model", "m", "-p", "shop", "--horizon", "soon"), "WrongCall", "is not a duration"),
        (("model", "m", "-p", "shop", "--task", "multilabel"), "WrongCall", "each with its name"),
        (
            ("model", "m", "-p", "shop", "--task", "binary", "--label", "a=1", "--label", "b=2"),
            "WrongCall",
            "one label",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_call_says_so_and_writes_nothing(
    karat: Call, shop: Path, arguments: tuple[str, ...], error: str, hint: str
):
    before = files(shop.parent)
    status, said = karat("new", *arguments)
    assert status in (1, 2)
    assert error in said
    assert hint in " ".join(said.split())
    assert files(shop.parent) == before


def test_a_broken_project_gets_nothing_new(karat: Call, shop: Path):
    model = shop / "models" / "comes_back.yaml"
    model.write_text(model.read_text().replace("task: binary", "task: binry"))
    before = files(shop)
    status, said = karat("new", "model", "second", "--project", "shop")
    assert (status, "comes_back.yaml:" in said) == (2, True)
    assert files(shop) == before


SALES = """Receipt;Sold on;Customer no.;Total;Items;Gift;Code
1;31.12.2025 09:15;K1;1.012,50;3;no;007
2;01.01.2026 10:00;K2;7,00;1;yes;012
3;02.01.2026 10:30;K1;-3,10;;no;013
"""


def test_a_project_on_a_file_has_the_contract_and_the_map_of_its_columns(karat: Call, tmp_path: Path):
    (tmp_path / "sales.csv").write_text(SALES)
    options = ("--from", str(tmp_path / "sales.csv"), "--entity", "Customer no.", "--timezone", "Europe/Berlin")
    status, said = karat("new", "project", "bakery", *options)
    assert status == 0, said
    folder = tmp_path / "projects" / "bakery"
    assert untidy(folder) == ""
    project = loaded(folder)
    sales = project.gold["sales"]
    assert (sales.key, sales.event_time, sales.columns["customer_no"].nullable) == (("receipt",), "sold_on", False)
    assert {n: c.dtype for n, c in sales.columns.items()} == {
        "receipt": "int64",
        "sold_on": "timestamp",
        "customer_no": "string",
        "total": "float64",
        "items": "int64",
        "gift": "bool",
        "code": "string",
    }
    lake = Lake(tmp_path / "home" / "lake", "dev")
    assert (ingest(project, "sales", [tmp_path / "sales.csv"], lake)).set_aside == 0
    row = lake.read(project.gold_name("sales")).sort("receipt").row(0, named=True)
    assert (row["total"], row["code"], row["gift"]) == (1012.5, "007", False)
    assert f"{row['sold_on']:%Y-%m-%d %H:%M}" == "2025-12-31 08:15"  # UTC


@pytest.mark.parametrize(
    ("values", "dtype", "sql"),
    [
        (["1", "20", "-3"], "int64", None),
        (["1", "0", "1"], "int64", None),
        (["1.5", "2", "1e3"], "float64", None),
        (["1,234.50", "12", "7.5"], "float64", 'parse_number("c")'),
        (["2026-01-31", "2026-02-01"], "date", None),
        (["2026-01-31 10:00:00", "2026-02-01T11:00"], "timestamp", None),
        (["01/31/2026", "02/01/2026"], "date", "strptime(\"c\", '%m/%d/%Y')::date"),
        (["31.01.2026 10:00:01", "01.02.2026 11:00:00"], "timestamp", "strptime(\"c\", '%d.%m.%Y %H:%M:%S')"),
        (["yes", "No", ""], "bool", None),
        (["blue", "12"], "string", None),
        (["", ""], "string", None),
        (["100"] * 60 + ["x"], "int64", None),  # one row in 61 is set aside
        (["100"] * 60 + ["?"], "int64", "nullif(trim(\"c\"), '?')"),
        (["100"] * 197 + ["2.5"] * 3, "float64", None),  # no number is
        (["100"] * 99 + ["1,234.5"], "float64", 'parse_number("c")'),
        (["12,5", "1,234", "7"], "float64", "parse_number(\"c\", mark := ',')"),
        (["0,125", "1,234"], "float64", "parse_number(\"c\", mark := ',')"),
        (["1.234,50", "1.234", "7"], "float64", "parse_number(\"c\", mark := ',')"),
        (["1.234", "1.234.567"], "int64", "parse_integer(\"c\", mark := ',')"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else None,
)
def test_what_a_column_holds(values: list[str], dtype: str, sql: str | None):
    (found,) = columns_of(pl.DataFrame({"c": values}))
    assert (found.dtype, found.sql) == (dtype, sql)
    assert "could be" not in found.told


@pytest.mark.parametrize(
    ("values", "dtype", "sql", "told"),
    [
        (["999", "1,234", "12,500"], "int64", 'parse_integer("c")', "1234, and could be 1.234"),
        (["1.234", "7.500"], "float64", None, "1.234, and could be 1234"),
        (["-12.000", "7"], "int64", None, "-12, and could be -12000"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else None,
)
def test_a_mark_before_three_digits_throughout_is_told(values: list[str], dtype: str, sql: str | None, told: str):
    """Thousands or decimals: nothing in the column says which."""
    (found,) = columns_of(pl.DataFrame({"c": values}))
    assert (found.dtype, found.sql) == (dtype, sql)
    marked = next(v for v in values if not v.isdigit())
    assert found.told == f'"c" {marked} is read as {told}'


def test_names_of_columns_become_names_each_once():
    rows = pl.DataFrame({"Customer no.": ["a"], "customer-no": ["b"], "2nd": ["c"], "%": ["d"]})
    assert [c.name for c in columns_of(rows)] == ["customer_no", "customer_no_2", "column_2nd", "column_4"]


WORDS = ("order", "limit", "desc", "at", "left", "values", "interval", "cast", "day")


def test_columns_named_as_words_of_sql_make_features_and_labels(karat: Call, tmp_path: Path):
    """Each name of the templates' SQL is quoted where SQL would read it as a word of its own."""
    rows = [",".join(("id", "end", "group", *WORDS))]
    rows += [f"{n},2026-05-{n:02} 10:00,c{n % 3},{','.join([f'{n}.5'] * len(WORDS))}" for n in range(1, 29)]
    (tmp_path / "visits.csv").write_text("\n".join(rows))
    assert karat("new", "project", "words", "--from", str(tmp_path / "visits.csv"), "--entity", "group")[0] == 0
    status, said = karat("new", "features", "visited", "--project", "words", "--entity", "group")
    assert status == 0, said
    status, said = karat("new", "model", "spends", "--project", "words")
    assert status == 0, said
    assert loaded(tmp_path / "projects" / "words").models["spends"].label.name == "order_next_7d"


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``answering(text)``: what somebody types on a terminal."""

    def type_(text: str) -> None:
        answers = io.StringIO(text)
        monkeypatch.setattr(answers, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("sys.stdin", answers)
        monkeypatch.setattr("infra.cli.new.console", Console(force_terminal=True, width=200))

    return type_


def test_on_a_terminal_the_columns_are_asked_for_and_what_is_left_out_is_told(
    karat: Call, tmp_path: Path, answering: Callable[[str], None]
):
    many = [f"v{n}" for n in range(14)]
    rows = [",".join(("id", "customer_id", "at", "shop_id", *many))]
    rows += [f"{n},c{n % 3},2026-05-{n:02} 10:00,{n},{','.join(['1.5'] * 14)}" for n in range(1, 29)]
    (tmp_path / "visits.csv").write_text("\n".join(rows))
    assert karat("new", "project", "wide", "--from", str(tmp_path / "visits.csv"))[0] == 0
    answering("event\nv1, v3\n")
    status, said = karat("new", "features", "picked", "-p", "wide")
    assert status == 0, said
    assert "v12" in said  # the columns that there are
    assert "left out: shop_id, v0, v2, v4" in said
    assert "(not among --columns)" in said
    table = loaded(tmp_path / "projects" / "wide").tables["picked"]
    assert table.grain == "event"
    assert {f.event for f in table.features if f.event} == {'hour("at")', 'isodow("at")', "v1", "v3"}
    answering("event\n\n")  # the default takes all that can be features, and names the rest
    status, said = karat("new", "features", "all_of_them", "-p", "wide")
    assert status == 0, said
    assert "left out: shop_id (the number of a name means nothing: --columns takes it all the same)" in said
    assert {*many} <= {f.name for f in loaded(tmp_path / "projects" / "wide").tables["all_of_them"].features}
    answering("dya\n")  # no such grain
    status, said = karat("new", "features", "wrong", "-p", "wide", "--columns", "v1")
    assert status != 0
    assert "Did you mean 'day'?" in said


def test_on_a_terminal_the_grain_is_asked_for(karat: Call, shop: Path, answering: Callable[[str], None]):
    answering("event\n")
    status, said = karat("new", "features", "single", "-p", "shop", "--gold", "orders")
    assert status == 0, said
    assert "event (a row of orders)" in said
    assert loaded(shop).tables["single"].grain == "event"
