"""How pages say numbers, times and sizes in the reader's language: Jinja filters, all of them plain functions."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from babel import dates
from babel.numbers import format_decimal
from flask import Flask
from flask_babel import get_locale, ngettext
from flask_babel import gettext as _
from markupsafe import Markup

WEEK = 7 * 86_400
TENTH = 0.1  # of a second: below, thousandths are told


def init_app(app: Flask) -> None:
    said = (ago, day, duration, figure, moment, number, ordinal, percent, size)
    app.jinja_env.filters.update({function.__name__: function for function in said})


def locale() -> str:
    """For dates and numbers; English days go before their months here."""
    language = str(get_locale() or "en")
    return "en_GB" if language == "en" else language


def when(value: Any) -> datetime | None:
    """A time of the API (RFC 3339, or seconds since 1970)."""
    if isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC)
    try:
        return datetime.fromisoformat(value) if value else None
    except (TypeError, ValueError):
        return None


def moment(value: Any) -> str | Markup:
    """A time to the minute, as <time>; js/times.js moves it into the reader's zone."""
    at = when(value)
    if at is None:
        return ""
    return _time(at, f"{_day(at)}, {at.astimezone(UTC):%H:%M} UTC", "moment")


def day(value: Any) -> str | Markup:
    at = when(value)
    return _time(at, _day(at)) if at else ""


def ago(value: Any) -> str | Markup:
    """A time as people say it, as <time>; its title is exact."""
    at = when(value)
    if at is None:
        return ""
    seconds = (datetime.now(UTC) - at).total_seconds()
    if -60 <= seconds < -1:
        return _time(at, _("in a moment"), "ago")
    if -1 <= seconds < 45:
        return _time(at, _("just now"), "ago")
    if seconds < WEEK:
        words = dates.format_timedelta(
            -round(seconds), add_direction=True, threshold=0.95, locale=locale()
        )
        return _time(at, words, "ago")
    return _time(at, _day(at))


def _day(at: datetime) -> str:
    return str(dates.format_skeleton("yMMMd", at.astimezone(UTC), locale=locale()))


def _time(at: datetime, words: str, kind: str = "day") -> Markup:
    exact = at.astimezone(UTC)
    iso, title = exact.isoformat(timespec="seconds"), f"{exact:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}" data-time="{}">{}</time>').format(
        iso, title, kind, words
    )


def duration(seconds: Any) -> str:
    """A length of time, in its two largest units."""
    if seconds is None:
        return ""
    seconds = max(0.0, float(seconds))
    if 0 < seconds < TENTH:
        return str(_("%(n)s ms", n=max(1, round(seconds * 1000))))
    if seconds < 60:
        shown = f"{seconds:.1f}" if 0 < seconds < 10 else f"{seconds:.0f}"
        return str(_("%(seconds)s s", seconds=shown))
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return str(_("%(minutes)s min %(seconds)s s", minutes=minutes, seconds=rest))
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return str(_("%(hours)s h %(minutes)s min", hours=hours, minutes=minutes))
    return str(_("%(days)s d %(hours)s h", days=hours // 24, hours=hours % 24))


def number(value: Any) -> str:
    """Thousands apart; whole numbers without a point."""
    if value is None:
        return ""
    if isinstance(value, float) and not value.is_integer():
        return figure(value)
    return str(format_decimal(int(value), locale=locale()))


def figure(value: Any) -> str:
    """A measured number in four significant digits."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return str(_("not a number"))
    return number(value) if isinstance(value, int) else f"{value:.4g}"


def percent(fraction: Any) -> str:
    """Rounded down, so that 100 % means done; 0.29 is 28.999… hundredths to a computer."""
    return f"{math.floor(round(float(fraction or 0) * 100, 6))} %"


def short(count: int) -> str:
    """A count where there is little room: 950, 1.5k, 20k, 3M."""
    for limit, mark in ((1_000_000, "M"), (1000, "k")):
        if count >= limit:
            return f"{count / limit:.1f}".removesuffix(".0") + mark
    return str(count)


def size(count: Any) -> str:
    """Bytes in the unit that suits."""
    amount = float(count or 0)
    if amount < 1000:
        return str(ngettext("%(num)s byte", "%(num)s bytes", round(amount)))
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 1000 or unit == "TB":
            break
    return f"{amount:.0f} {unit}" if amount >= 10 and unit != "TB" else f"{amount:.1f} {unit}"


def ordinal(n: int) -> str:
    """A place in a row: 3rd."""
    if locale() != "en_GB":
        return str(_("no. %(n)s", n=n))
    if n % 100 in (11, 12, 13):
        return f"{n}th"
    return f"{n}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th') }"
