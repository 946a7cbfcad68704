"""Behavioural features (24): what a user reads, opens, visits, is alerted to and searches for.

Each of the five sources has a table of its own; ``behavioral`` in ``project.yaml`` names them together.
"""

from __future__ import annotations

from karat.declare import Feature, FeatureTable, aggregate, between, from_sql, matches

OPENED, SENT, CLICKED = "event = 'opened'", "event = 'sent'", "event = 'clicked'"


def _count(name: str, days: int, what: str, where: str | None = None, *, shown: bool = True) -> Feature:
    description = f"{what} in the last {days} days"
    return aggregate(name, "count", window=f"{days}d", where=where, intermediate=not shown, description=description)


def _table(name: str, source: str, what: str, features: tuple[Feature, ...], **more: object) -> FeatureTable:
    """Days without anything have rows too, as long as the widest window holds something: counts must go down."""
    return FeatureTable(
        name=f"{name}_features",
        description=f"{what}, as known at the end of a day",
        owner="roi-analytics",
        source=source,
        entity=("user_id",),
        time="day",
        rows="window",
        features=features,
        **more,
    )


document_features = _table(
    "document",
    "document_access",
    "The documents that a user has opened",
    (
        _count("doc_access_count_7d", 7, "Documents opened"),
        _count("doc_access_count_30d", 30, "Documents opened"),
        _count("doc_access_count_90d", 90, "Documents opened"),
        _count("doc_download_count_30d", 30, "Documents downloaded or shared", "action <> 'view'"),
        aggregate(
            "doc_view_seconds_avg_30d",
            "mean",
            "CASE WHEN seconds > 3600 THEN 3600 ELSE seconds END",
            window="30d",
            description="Mean seconds that a document was open in the last 30 days; what is left open counts an hour",
        ),
        aggregate(
            "doc_valuation_share_90d",
            "share",
            "document_type = 'valuation'",
            window="90d",
            description="Share of valuations among the documents of the last 90 days",
        ),
        aggregate(
            "doc_loan_share_90d",
            "share",
            "document_type = 'loan'",
            window="90d",
            description="Share of loans among the documents of the last 90 days",
        ),
    ),
    checks=(
        between("doc_loan_share_90d", 0, 1),
        matches("doc_access_count_7d <= doc_access_count_30d AND doc_access_count_30d <= doc_access_count_90d"),
    ),
)

email_features = _table(
    "email",
    "email_engagement",
    "The e-mails that a user has got, opened and followed",
    (
        _count("emails_sent_30d", 30, "E-mails sent", SENT, shown=False),
        _count("emails_opened_30d", 30, "E-mails opened", OPENED, shown=False),
        _count("emails_clicked_30d", 30, "E-mails clicked", CLICKED, shown=False),
        from_sql(
            "email_open_rate_30d",
            "CASE WHEN emails_sent_30d > 0 THEN least(emails_opened_30d / emails_sent_30d, 1) END",
            description="E-mails opened over e-mails sent, of the last 30 days, at most 1; null where none was sent",
        ),
        from_sql(
            "email_click_rate_30d",
            "CASE WHEN emails_opened_30d > 0 THEN least(emails_clicked_30d / emails_opened_30d, 1) END",
            description="Clicks over opens of the last 30 days, at most 1; null where none was opened",
        ),
        _count("email_open_count_7d", 7, "E-mails opened", OPENED),
        _count("email_open_count_90d", 90, "E-mails opened", OPENED),
        aggregate(
            "email_open_hour_avg_90d",
            "mean",
            "hour(happened_at) + minute(happened_at) / 60",
            window="90d",
            where=f"{OPENED} AND hour(happened_at) >= 5",
            description="Mean hour (UTC) at which e-mails were opened in the last 90 days, less those of machines",
        ),
        aggregate(
            "email_open_weekday_avg_90d",
            "mean",
            "isodow(happened_at)",
            window="90d",
            where=OPENED,
            description="Mean weekday (1 Monday to 7 Sunday) on which e-mails were opened in the last 90 days",
        ),
    ),
    checks=(between("email_open_rate_30d", 0, 1), between("email_open_weekday_avg_90d", 1, 7)),
)

session_features = _table(
    "session",
    "platform_sessions",
    "The sessions of a user on the platform",
    (
        _count("session_count_7d", 7, "Sessions"),
        _count("session_count_30d", 30, "Sessions"),
        aggregate(
            "session_minutes_avg_30d",
            "mean",
            "minutes",
            window="30d",
            description="Mean minutes of a session in the last 30 days",
        ),
        aggregate(
            "session_page_count_30d",
            "sum",
            "pages",
            window="30d",
            dtype="int64",
            description="Pages seen in the last 30 days",
        ),
        aggregate(
            "session_hour_avg_90d",
            "mean",
            "hour(started_at) + minute(started_at) / 60",
            window="90d",
            description="Mean hour (UTC) at which the sessions of the last 90 days began",
        ),
    ),
    checks=(between("session_hour_avg_90d", 0, 24), between("session_page_count_30d", 0)),
)

alert_features = _table(
    "alert",
    "alerts",
    "The alerts that a user has got and opened",
    (
        _count("alerts_sent_30d", 30, "Alerts sent", SENT, shown=False),
        _count("alert_open_count_30d", 30, "Alerts opened", OPENED),
        from_sql(
            "alert_open_rate_30d",
            "CASE WHEN alerts_sent_30d > 0 THEN least(alert_open_count_30d / alerts_sent_30d, 1) END",
            description="Alerts opened over alerts sent, of the last 30 days, at most 1; null where none was sent",
        ),
        aggregate(
            "alert_value_share_90d",
            "share",
            "topic = 'value'",
            window="90d",
            where=OPENED,
            description="Share of the home's value among the topics of the alerts opened in the last 90 days",
        ),
    ),
    checks=(between("alert_open_rate_30d", 0, 1), between("alert_value_share_90d", 0, 1)),
)

search_features = _table(
    "search",
    "searches",
    "What a user has searched for",
    (
        _count("search_count_30d", 30, "Searches"),
        aggregate(
            "search_listing_share_90d",
            "share",
            "kind = 'listing'",
            window="90d",
            description="Share of listings among the searches of the last 90 days",
        ),
        aggregate(
            "search_rental_share_90d",
            "share",
            "kind = 'rental'",
            window="90d",
            description="Share of rentals among the searches of the last 90 days",
        ),
    ),
    checks=(between("search_listing_share_90d", 0, 1),),
)
