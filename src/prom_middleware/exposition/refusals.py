"""What a scrape may be refused for: a status, and a text that says what to change."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - nothing went wrong in us
    """A scrape that is answered with `status` and the exception's text."""

    status = 500


class SelectorError(Refusal):
    """What was to be selected cannot be read, or would cost too much."""

    status = 400


class Busy(Refusal):
    """As many scrapes as may be are under way."""

    status = 503

    def __init__(self, limit: int) -> None:
        super().__init__(f"Limit of concurrent requests reached ({limit}), try again later.")


class TimedOut(Refusal):
    """The time that the scraper or the options gave has passed."""

    status = 503

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Exceeded configured timeout of {seconds:g}s.")


class Broken(Refusal):
    """Nothing can be shown, or nothing less than all is wanted."""

    status = 500
