"""Gold rows of one user, written by hand around one day, and what each of the 83 features is on that day.

The day is Wednesday, 10 June 2026. The last 7 days begin on 4 June, 30 on 12 May, 90 on 13 March. Rows of the day
after, of the day before a window and of another user are there to be left out.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

DAY = date(2026, 6, 10)
ANN, BOB = "ann", "bob"


def _at(month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


_DOCUMENTS = [
    (ANN, _at(6, 10, 9), "listing", "view", 100.0),
    (ANN, _at(6, 5, 10), "loan", "download", 50.0),
    (ANN, _at(6, 4), "loan", "view", 7200.0),  # left open: counts an hour
    (ANN, _at(6, 3, 23, 59), "valuation", "share", None),
    (ANN, _at(5, 12, 8), "tax", "view", 30.0),
    (ANN, _at(5, 11, 8), "valuation", "view", 999.0),
    (ANN, _at(3, 13), "loan", "view", 10.0),
    (ANN, _at(3, 12, 23), "loan", "view", 10.0),
    (ANN, _at(6, 11), "loan", "view", 10.0),
    (BOB, _at(6, 10, 12), "listing", "view", 77.0),
]
_EMAILS = [
    *((ANN, _at(*day, 4), "sent") for day in ((4, 1), (5, 20), (5, 27), (6, 3), (6, 9))),
    (ANN, _at(4, 1, 12), "opened"),  # a Wednesday
    (ANN, _at(5, 20, 10, 30), "opened"),  # a Wednesday
    (ANN, _at(6, 3, 16), "opened"),  # a Wednesday
    (ANN, _at(6, 3, 16, 5), "clicked"),
    (ANN, _at(6, 9, 4, 30), "opened"),  # a Tuesday, by a machine
    (BOB, _at(6, 10, 4), "sent"),
]
_SESSIONS = [
    (ANN, _at(6, 10, 8), 10.0, 5),
    (ANN, _at(6, 6, 20, 30), 20.0, 9),
    (ANN, _at(5, 30, 12, 15), None, 2),
    (ANN, _at(4, 20, 7, 15), 40.0, 30),
    (BOB, _at(6, 10, 3), 99.0, 99),
]
_ALERTS = [
    (ANN, _at(6, 10, 9), "sent", "value"),
    (ANN, _at(6, 10, 10), "opened", "value"),
    (ANN, _at(6, 1, 9), "sent", "rate"),
    (ANN, _at(6, 1, 10), "dismissed", "rate"),
    (ANN, _at(5, 15, 9), "sent", "listing"),
    (ANN, _at(5, 15, 10), "opened", "listing"),
    (ANN, _at(5, 1, 9), "sent", "value"),
    (ANN, _at(5, 1, 10), "opened", "value"),
    (ANN, _at(4, 2, 10), "opened", "rental"),
    (BOB, _at(6, 10, 10), "sent", "value"),
]
_SEARCHES = [
    (ANN, _at(6, 8, 10), "listing"),
    (ANN, _at(6, 2, 10), "rental"),
    (ANN, _at(5, 12, 10), "listing"),
    (ANN, _at(4, 10, 10), "rate"),
    (ANN, _at(3, 20, 10), "rental"),
    (ANN, _at(3, 15, 10), "listing"),
    (ANN, _at(3, 12, 10), "listing"),
    (BOB, _at(6, 8, 10), "rate"),
]
_HOME = {
    "property_id": "home",
    "property_type": "condo",
    "square_feet": 2000.0,
    "lot_square_feet": 5000.0,
    "bedrooms": 3,
    "bathrooms": 2.5,
    "year_built": 1996,
    "garage_spaces": 2,
    "has_pool": True,
    "purchase_price": 320_000.0,
    "purchased_on": date(2021, 6, 10),
    "mortgage_balance": 240_000.0,
    "mortgage_rate": 0.055,
    "mortgage_months": 60,
    "annual_tax": 4400.0,
    "zip_median_value": 350_000.0,
    "zip_value_per_sqft": 180.0,
    "zip_sales": 44,
    "zip_days_on_market": 31.5,
    "school_rating": 8,
}
#: 364 and 91 days before the day, a week before it, and the day.
_VALUES = {date(2025, 6, 11): 380e3, date(2026, 3, 11): 392e3, date(2026, 6, 3): 399e3, DAY: 400e3}
_DEALS = [
    (date(2024, 6, 10), "SELL", 999_999.0, 1, False, "a9", 1.0),  # a day before the two years
    (date(2024, 6, 11), "BUY", 300_000.0, 40, True, "a1", 4.0),
    (date(2025, 6, 10), "REFINANCE", 200_000.0, 24, True, "a1", 5.0),  # a day before the 365
    (date(2026, 5, 31), "INVESTMENT", 100_000.0, 35, False, None, 3.0),
]
_REPORTS = [
    (date(2025, 6, 12), 250e3, 5.0, 50.0, 0.95, 20, 0.058, 4.0),  # the first of 364 days
    (date(2026, 3, 5), 290e3, 4.5, 40.0, 0.97, 40, 0.060, 4.2),  # the first of 98 days
    (date(2026, 5, 25), 298e3, 3.8, 36.0, 0.98, 60, 0.0625, 4.4),
    (date(2026, 6, 8), 300e3, None, 33.0, 0.99, 80, 0.065, 4.5),
]


def _rows(names: str, rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(names.split(), row, strict=True)) for row in rows]


GOLD: dict[str, list[dict[str, Any]]] = {
    "document_access": _rows("user_id accessed_at document_type action seconds", _DOCUMENTS),
    "email_engagement": _rows("user_id happened_at event", _EMAILS),
    "platform_sessions": _rows("user_id started_at minutes pages", _SESSIONS),
    "alerts": _rows("user_id happened_at event topic", _ALERTS),
    "searches": _rows("user_id searched_at kind", _SEARCHES),
    "properties": [
        {
            "user_id": ANN,
            "valued_on": day,
            "estimated_value": value,
            "owned_days": (day - date(2021, 6, 10)).days,
            **_HOME,
        }
        for day, value in _VALUES.items()
    ],
    "transactions": [
        {"user_id": ANN, **row}
        for row in _rows("closed_on transaction_type amount days_to_close financed agent_id agent_rating", _DEALS)
    ],
    "market": [
        {"user_id": ANN, "market_id": "m", **row}
        for row in _rows(
            "reported_on median_price inventory_months days_on_market sale_to_list sales mortgage_rate_30y "
            "unemployment_rate",
            _REPORTS,
        )
    ],
    "users": [{"user_id": ANN, "snapshot_on": date(2026, 6, 5), "signed_up_on": date(2025, 6, 10)}],
}

EXPECTED: dict[str, dict[str, Any]] = {
    "behavioral": {
        "doc_access_count_7d": 3,
        "doc_access_count_30d": 5,
        "doc_access_count_90d": 7,
        "doc_download_count_30d": 2,
        "doc_view_seconds_avg_30d": (100 + 50 + 3600 + 30) / 4,
        "doc_valuation_share_90d": 2 / 7,
        "doc_loan_share_90d": 3 / 7,
        "email_open_rate_30d": 3 / 4,
        "email_click_rate_30d": 1 / 3,
        "email_open_count_7d": 1,
        "email_open_count_90d": 4,
        "email_open_hour_avg_90d": (12 + 10.5 + 16) / 3,
        "email_open_weekday_avg_90d": (3 + 3 + 3 + 2) / 4,
        "session_count_7d": 2,
        "session_count_30d": 3,
        "session_minutes_avg_30d": 15.0,
        "session_page_count_30d": 16,
        "session_hour_avg_90d": (8 + 20.5 + 12.25 + 7.25) / 4,
        "alert_open_count_30d": 2,
        "alert_open_rate_30d": 2 / 3,
        "alert_value_share_90d": 2 / 4,
        "search_count_30d": 3,
        "search_listing_share_90d": 3 / 6,
        "search_rental_share_90d": 2 / 6,
    },
    "property": {
        "square_feet": 2000.0,
        "lot_square_feet": 5000.0,
        "bedrooms": 3,
        "bathrooms": 2.5,
        "property_age_years": 30,
        "property_type": "condo",
        "garage_spaces": 2,
        "has_pool": True,
        "estimated_value": 400_000.0,
        "home_equity": 160_000.0,
        "loan_to_value": 0.6,
        "mortgage_rate": 0.055,
        "value_change_91d": 8000.0,
        "value_growth_364d": 20 / 380,
        "property_tax_rate": 0.011,
        "value_to_zip_median": 400 / 350,
        "price_per_sqft_to_zip": 200 / 180,
        "zip_sales_90d": 44,
        "zip_days_on_market": 31.5,
        "school_rating": 8,
        "years_owned": (5 * 365 + 1) / 365.25,  # 2024 has a day more
        "mortgage_paid_share": 60 / 360,
        "appreciation_since_purchase": 0.25,
    },
    "transactional": {
        "transaction_count_365d": 1,
        "transaction_count_730d": 3,
        "transaction_amount_730d": 600_000.0,
        "last_transaction_amount": 100_000.0,
        "days_since_last_transaction": 10,
        "transaction_amount_avg_730d": 200_000.0,
        "refinance_share_730d": 1 / 3,
        "investment_share_730d": 1 / 3,
        "days_to_close_avg_730d": (40 + 24 + 35) / 3,
        "financed_share_730d": 2 / 3,
        "agent_count_730d": 1,
        "repeat_agent_share_730d": 1 / 2,
        "agent_rating_avg_730d": 4.0,
    },
    "market": {
        "market_median_price": 300_000.0,
        "market_price_growth_91d": 10 / 290,
        "market_inventory_months": 3.8,  # the latest that is known
        "market_days_on_market": 33.0,
        "market_sale_to_list_avg_28d": 0.985,
        "mortgage_rate_30y": 0.065,
        "mortgage_rate_change_91d": 0.005,
        "unemployment_rate": 4.5,
        "seasonal_sales_index": 70 / 50,
        "is_spring_market": True,
        "is_holiday_season": False,
        "is_school_year": False,
        "weeks_to_peak_season": (365 - 40) / 7,  # the first of May was 40 days ago
    },
    "temporal": {
        "account_age_days": 365,
        "day_of_week": 3,
        "is_weekend": False,
        "days_to_month_end": 20,
        "day_of_week_sin": math.sin(2 * math.pi * 2 / 7),
        "day_of_week_cos": math.cos(2 * math.pi * 2 / 7),
        "month_sin": 0.5,
        "month_cos": -math.sqrt(3) / 2,
        "day_of_month_sin": math.sin(0.6 * math.pi),
        "day_of_month_cos": math.cos(0.6 * math.pi),
    },
}
