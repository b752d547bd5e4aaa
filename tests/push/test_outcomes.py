"""What attempts come to, and the pauses between them."""

from __future__ import annotations

import socket
import ssl
from datetime import datetime, timedelta, timezone
from email.message import Message
from email.utils import format_datetime
from http.client import BadStatusLine
from io import BytesIO
from urllib.error import HTTPError, URLError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_middleware.push.options import Policy
from prom_middleware.push.outcomes import Outcome, of_answer, of_error
from prom_middleware.push.sending import FIRST_PAUSE, LONGEST_PAUSE, Sending, _backoff, in_thread
from waiting import eventually


def headers(**values: str) -> Message:
    message = Message()
    for name, value in values.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionRefusedError("x"), True),
        (TimeoutError("x"), True),
        (socket.gaierror("x"), True),
        (BadStatusLine("x"), True),
        (URLError(ConnectionResetError("x")), True),
        (ssl.SSLEOFError("x"), True),
        (ssl.SSLCertVerificationError("x"), False),
        (URLError(ssl.SSLCertVerificationError("x")), False),
        (ValueError("x"), False),
        (RuntimeError("x"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors(error: BaseException, again: bool) -> None:
    outcome = of_error(error)
    assert (outcome.ok, outcome.status, outcome.again) == (False, None, again)
    assert type(error).__name__ in outcome.reason


@pytest.mark.parametrize(("code", "again"), [(503, True), (400, False)])
def test_urllib_s_errors(code: int, again: bool) -> None:
    body = BytesIO(b"x")
    outcome = of_error(HTTPError("http://h", code, "Phrase", headers(), body))
    assert (outcome.status, outcome.again, outcome.reason) == (code, again, f"{code} Phrase")
    assert body.closed


def test_retry_after() -> None:
    def after(text: str) -> float:
        return of_answer(503, "", headers(Retry_After=text), b"").after

    soon = datetime.now(timezone.utc) + timedelta(seconds=100)
    assert after("7") == after(" 7 \t") == 7
    assert 50 < after(format_datetime(soon, usegmt=True)) <= 100
    assert 50 < after(soon.strftime("%a, %d %b %Y %H:%M:%S -0000")) <= 100
    assert after("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    wrong = ("", "soon", "-1", "1.5", "²", "٣", "0\x1f", "Thu, 99 Foo")
    wrong += ("Thu, 01 Jan 1970 00:00:00 +99999999999999",)
    assert [after(text) for text in wrong] == [0.0] * len(wrong)


@given(status=st.integers(300, 599), text=st.binary(max_size=3000), after=st.text(max_size=30))
def test_any_answer_has_a_meaning(status: int, text: bytes, after: str) -> None:
    message = Message()
    message.add_header("Retry-After", after.replace("\r", "").replace("\n", ""))
    outcome = of_answer(status, "", message, text)
    assert not outcome.ok
    assert outcome.after >= 0
    assert len(outcome.reason) <= 500
    assert outcome.reason.isprintable()


ESCAPES = "\x1b]0;mine\x07\x1b[2Jall is well\x9b1m\u202e"


@pytest.mark.parametrize(
    ("outcome", "rest"),
    [
        (of_answer(400, "Bad Request", Message(), ESCAPES.encode()), "400 Bad Request: "),
        (of_answer(400, ESCAPES, Message(), b""), "400 "),
        (of_answer(302, "Found", headers(Location=ESCAPES), b""), "302 Found: "),
        (of_error(BadStatusLine(ESCAPES)), "BadStatusLine: "),
    ],
    ids=["body", "phrase", "location", "no HTTP"],
)
def test_a_gateway_does_not_write_to_the_terminal(outcome: Outcome, rest: str) -> None:
    assert outcome.reason == f"{rest}\ufffd]0;mine\ufffd\ufffd[2Jall is well\ufffd1m\ufffd"


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (
            of_answer(400, "Bad\tRequest", Message(), b"wrong\n\there\r\n"),
            "400 Bad Request: wrong here",
        ),
        (of_error(OSError("no\n\troute")), "OSError: no route"),
    ],
)
def test_several_lines_are_one(outcome: Outcome, reason: str) -> None:
    assert outcome.reason == reason


@given(number=st.integers(1, 10_000))
def test_pauses_grow_to_a_limit(number: int) -> None:
    assert 0 < FIRST_PAUSE / 2 <= _backoff(number) <= LONGEST_PAUSE


def test_pauses_are_doubled() -> None:
    for number in range(1, 5):
        longest = FIRST_PAUSE * 2 ** (number - 1)
        assert all(longest / 2 <= _backoff(number) <= longest for _ in range(50))


class Told:
    """An attempt with a known outcome."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.aborted = False

    def run(self) -> Outcome:
        return self.outcome

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.usefixtures("hurried")
def test_attempts_get_what_is_left_of_the_deadline() -> None:
    seconds: list[float | None] = []

    def attempt(limit: float | None) -> Told:
        seconds.append(limit)
        return Told(Outcome(False, "no", again=len(seconds) < 3))

    Sending(attempt, Policy(timeout=30, deadline=20)).run()
    Sending(attempt, Policy(timeout=5, deadline=None)).run()
    Sending(attempt, Policy(timeout=None, deadline=None)).run()
    first, second, third, alone, unlimited = seconds
    assert first is not None
    assert second is not None
    assert third is not None
    assert 20 >= first > second > third > 0
    assert (alone, unlimited) == (5, None)


def test_stopped_while_it_pauses() -> None:
    made: list[Told] = []

    def attempt(_: float | None) -> Told:
        made.append(Told(Outcome(False, "no", again=True, after=50)))
        return made[-1]

    sending = Sending(attempt, Policy())
    running = in_thread(sending.run)
    assert eventually(lambda: len(made), bool) == 1
    sending.stop()
    assert running.result(20).attempts == 1
    assert [one.aborted for one in made] == [True]


def test_stopped_before_an_attempt() -> None:
    told = Told(Outcome(True))
    sending = Sending(lambda _: told, Policy())
    sending.stop()
    sending.run()
    assert told.aborted, "and an exchange sends nothing then"
