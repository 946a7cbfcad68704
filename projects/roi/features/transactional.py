"""Transactional features (13): the deals that a user has closed, their pattern, and with whom."""

from __future__ import annotations

from karat.declare import Feature, FeatureTable, aggregate, between, from_sql


def _two_years(name: str, function: str, column: str | None, what: str, **more: object) -> Feature:
    return aggregate(name, function, column, window="730d", description=f"{what} of the last two years", **more)


HISTORY = (
    aggregate("transaction_count_365d", "count", window="365d", description="Deals of the last 365 days"),
    _two_years("transaction_count_730d", "count", None, "Deals"),
    _two_years("transaction_amount_730d", "sum", "amount", "Dollars of all deals"),
    _two_years("last_transaction_amount", "last", "amount", "Dollars of the latest deal"),
    _two_years(
        "last_closed",
        "max",
        "date_diff('day', DATE '1970-01-01', closed_on)",
        "The latest",
        dtype="int64",
        intermediate=True,
    ),
    from_sql(
        "days_since_last_transaction",
        "date_diff('day', DATE '1970-01-01', day) - last_closed",
        dtype="int64",
        description="Days since the latest deal, of the last two years",
    ),
)

PATTERNS = (
    _two_years("transaction_amount_avg_730d", "mean", "amount", "Mean dollars of a deal"),
    _two_years(
        "refinance_share_730d", "share", "transaction_type = 'REFINANCE'", "Share of refinancings among the deals"
    ),
    _two_years(
        "investment_share_730d", "share", "transaction_type = 'INVESTMENT'", "Share of investments among the deals"
    ),
    _two_years("days_to_close_avg_730d", "mean", "days_to_close", "Mean days from contract to closing of the deals"),
    _two_years("financed_share_730d", "share", "financed", "Share of the deals for which a loan was taken,"),
)

AGENTS = (
    _two_years("agent_count_730d", "count_distinct", "agent_id", "Different agents in the deals"),
    _two_years("known_agents", "count", "agent_id", "Deals with a known agent", intermediate=True),
    from_sql(
        "repeat_agent_share_730d",
        "CASE WHEN known_agents > 0 THEN 1 - agent_count_730d / known_agents END",
        description="Share of the deals of the last two years that were closed with an agent known before",
    ),
    _two_years("agent_rating_avg_730d", "mean", "agent_rating", "Mean of what the user said of his agents, 1 to 5,"),
)

transactional_features = FeatureTable(
    name="transactional_features",
    description="A user's deals as known at the end of a day; who has closed none for two years has no row",
    owner="roi-analytics",
    source="transactions",
    entity=("user_id",),
    time="day",
    rows="window",
    features=(*HISTORY, *PATTERNS, *AGENTS),
    checks=(
        between("refinance_share_730d", 0, 1),
        between("repeat_agent_share_730d", 0, 1),
        between("agent_rating_avg_730d", 1, 5),
        between("days_since_last_transaction", 0, 729),
    ),
)
