"""A clock that is years ahead, for programs that wait for a date."""

from __future__ import annotations

YEARS = 20
_OFFSET = int(YEARS * 365.25 * 86400) + 11 * 3600 + 37 * 60 + 29
"""Seconds; not whole days, so that hour, half-hour and second differ, too."""
_AHEAD = """
def _years_ahead(ahead):
    import datetime, time

    time_, time_ns, gmtime, localtime = time.time, time.time_ns, time.gmtime, time.localtime
    ctime, strftime, asctime = time.ctime, time.strftime, time.asctime
    time.time = lambda: time_() + ahead
    time.time_ns = lambda: time_ns() + ahead * 10**9
    time.gmtime = lambda s=None: gmtime(time.time() if s is None else s)
    time.localtime = lambda s=None: localtime(time.time() if s is None else s)
    gettime, gettime_ns = time.clock_gettime, time.clock_gettime_ns
    real = time.CLOCK_REALTIME
    time.clock_gettime = lambda c: gettime(c) + ahead * (c == real)
    time.clock_gettime_ns = lambda c: gettime_ns(c) + ahead * 10**9 * (c == real)
    time.ctime = lambda s=None: ctime(time.time() if s is None else s)
    time.asctime = lambda t=None: asctime(time.localtime() if t is None else t)
    time.strftime = lambda form, t=None: strftime(form, time.localtime() if t is None else t)

    class Kind(type):
        def __instancecheck__(cls, value):
            return isinstance(value, cls.real)

    class date(datetime.date, metaclass=Kind):
        real = datetime.date

        @classmethod
        def today(cls):
            return cls.fromtimestamp(time.time())

    class moment(datetime.datetime, metaclass=Kind):
        real = datetime.datetime

        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def today(cls):
            return cls.fromtimestamp(time.time())

        @classmethod
        def utcnow(cls):
            return cls.fromtimestamp(time.time(), datetime.timezone.utc).replace(tzinfo=None)

    datetime.date, datetime.datetime = date, moment
"""


def years_later(code: str) -> str:
    """The program as it will run `YEARS` from now; its lines keep their numbers in tracebacks.

    Only Python's own clocks are moved. That catches careless and evasive scorers; against hostile
    code there is the sandbox.
    """
    return (
        f"{_AHEAD}\n_years_ahead({_OFFSET})\n"
        f"exec(compile({code!r}, 'task.py', 'exec', dont_inherit=True), globals())\n"
    )
