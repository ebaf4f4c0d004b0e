"""The proleptic Gregorian calendar: days and seconds since 1970-01-01."""

from __future__ import annotations

_DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


def days_from_civil(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date; month 1..12, any year."""
    year += (month - 1) // 12
    month = (month - 1) % 12
    past = year - 1
    leap = month > 1 and (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))
    return 365 * past + past // 4 - past // 100 + past // 400 + _DAYS_BEFORE[month] + leap + day - 719163


def year_of(days: int) -> int:
    """The year of a day."""
    year = 1970 + int(days // 365.2425)
    while days < days_from_civil(year, 1, 1):
        year -= 1
    while days >= days_from_civil(year + 1, 1, 1):
        year += 1
    return year


def broken_down(seconds: int) -> list[int]:
    """The first nine ints of struct tm in UTC: sec, min, hour, mday, mon, year - 1900, wday, yday, isdst."""
    days, rest = divmod(seconds, 86400)
    year = year_of(days)
    day_of_year = days - days_from_civil(year, 1, 1)
    month = max(m for m in range(1, 13) if days_from_civil(year, m, 1) <= days)
    day = days - days_from_civil(year, month, 1) + 1
    return [rest % 60, rest // 60 % 60, rest // 3600, day, month - 1, year - 1900, (days + 4) % 7, day_of_year, 0]


def seconds_of(fields: list[int]) -> int:
    """Seconds since the epoch of a struct tm in UTC; its fields may be out of range."""
    second, minute, hour, day, month, year = fields[:6]
    return days_from_civil(year + 1900, month + 1, day) * 86400 + hour * 3600 + minute * 60 + second
