"""What was answered 200 is there after the process was killed, the disk was full, or worse."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from commands.programs import start
from multiprocess_servers.namespaces import with_tmpfs
from prom_middleware import failures
from prom_middleware.errors import PromMiddlewareError
from prom_middleware.pushgateway import StorageError, make_asgi_app
from prom_middleware.pushgateway.bodies.text import parse_text
from prom_middleware.pushgateway.durable import Journal
from prom_middleware.pushgateway.store import Push, Store
from pushgateway.gateways import Client, Mounted, Reply, serving, shown

# 50 by hand: PUSHGATEWAY_KILLS=50 pytest tests/pushgateway/test_durability.py
KILLS = int(os.environ.get("PUSHGATEWAY_KILLS", "4"))
PUSHERS = 4


def app(path: Path, **options: Any) -> Mounted:
    return Mounted(make_asgi_app(persistence_file=str(path), **options))


def end(send: Mounted) -> None:
    send.app.gateway.close()


def exposition(send: Any) -> str:
    return shown(send("GET", "/metrics").text)


class Pusher(threading.Thread):
    """Pushes one number after the other to its group and knows which one was answered last."""

    def __init__(self, number: int, port: int, first: int) -> None:
        super().__init__(daemon=True)
        self.group, self.port = f"/metrics/job/load/pusher/{number}", port
        self.sent = self.answered = first

    def run(self) -> None:
        with suppress(OSError, http.client.HTTPException), Client(self.port) as client:
            while True:
                self.sent += 1
                body = f"count {self.sent}\n"
                if client("PUT", self.group, body).status == 200:
                    self.answered = self.sent


def launched(path: Path) -> tuple[subprocess.Popen[str], int]:
    listen = "--web.listen-address=127.0.0.1:0"
    process = start(["pushgateway", listen, f"--persistence.file={path}"])
    assert process.stdout is not None
    return process, int(process.stdout.readline().rpartition(" ")[2])


def found(port: int) -> dict[str, int]:
    with Client(port) as client:
        text = client("GET", "/metrics").text
    return {
        f"/metrics/job/load/pusher/{number}": int(float(value))
        for number, value in re.findall(r'^count\{.*pusher="(\d+)"\} (\S+)$', text, re.MULTILINE)
    }


def test_nothing_is_lost_by_a_kill_under_load(tmp_path: Path) -> None:
    path, chance = tmp_path / "groups.db", random.Random(5)
    state: dict[str, tuple[int, int]] = {}
    for _ in range(KILLS):
        process, port = launched(path)
        try:
            check(found(port), state)
            pushers = [
                Pusher(one, port, state.get(f"/metrics/job/load/pusher/{one}", (0, 0))[1])
                for one in range(PUSHERS)
            ]
            for pusher in pushers:
                pusher.start()
            time.sleep(chance.uniform(0.2, 0.6))  # whenever it is, nothing may be lost
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=30)
        for pusher in pushers:
            pusher.join(30)
            state[pusher.group] = (pusher.answered, pusher.sent)
    assert all(answered > 0 for answered, _ in state.values())
    process, port = launched(path)
    try:
        check(found(port), state)
    finally:
        process.kill()
        process.communicate(timeout=30)


def check(stored: dict[str, int], state: dict[str, tuple[int, int]]) -> None:
    """See to it that each group has what was answered last, or what was sent after that."""
    for group, (answered, sent) in state.items():
        assert answered <= stored.get(group, 0) <= sent, group


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "groups.db"
    send = app(path, push_ttl=0.0)
    send("PUT", "/metrics/job/j/x/1/__push_ttl__/1h", 'a{y="\\"\\\\\\n"} NaN\nb +Inf\nc -0\n')
    send("PUT", "/metrics/job/h", '# TYPE h histogram\n# HELP h It.\nh_bucket{le="1"} 2\nh_sum 3\n')
    send("PUT", "/metrics/job/s", '# TYPE s summary\ns{quantile="0.5"} 1\ns_count 2\n')
    send("PUT", "/metrics/job/failed", "a 1 1\n")
    before = exposition(send), send("GET", "/api/v1/metrics").text
    end(send)
    again = app(path, push_ttl=0.0)
    assert (exposition(again), again("GET", "/api/v1/metrics").text) == before
    groups = {dict(one.key)["job"]: one for one in again.app.gateway.store.groups()}
    assert groups["j"].ttl_ns == 3600 * 10**9
    assert groups["failed"].failure == "pushed metrics must not have timestamps"
    end(again)


def test_a_group_that_one_request_names_twice_is_one(tmp_path: Path) -> None:
    send = app(tmp_path / "g.db", enable_multiple_groups=True)
    entries = [{"labels": {"job": "a"}, "metrics": f"{name} 1\n"} for name in "xyx"]
    for _ in range(2):
        assert send("POST", "/api/v1/groups", json.dumps(entries)).status == 200
    before = exposition(send)
    assert 'x{instance="",job="a"} 1\n' in before
    assert 'y{instance="",job="a"} 1\n' in before
    end(send)
    again = app(tmp_path / "g.db", enable_multiple_groups=True)
    assert exposition(again) == before
    for name in "zw":  # each of them replaces what is there
        entries.append({"labels": {"job": "a"}, "metrics": f"{name} 1\n"})
    assert again("PUT", "/api/v1/groups", json.dumps(entries)).status == 200
    after = exposition(again)
    assert 'w{instance="",job="a"} 1\n' in after
    assert "x{" not in after
    end(again)
    last = app(tmp_path / "g.db")
    assert exposition(last) == after
    end(last)


def test_native_histograms_and_exemplars_come_back(tmp_path: Path) -> None:
    from pushgateway.gateways import RECORDED, body_of

    wanted = {"Accept": RECORDED["metrics_accept_pb"]["steps"][0]["headers"]["Accept"]}
    send = app(tmp_path / "groups.db")
    for name in ("pb_native_hist", "pb_exemplar"):
        (step,) = RECORDED[name]["steps"]
        reply = send("PUT", f"/metrics/job/{name}", body_of(step), step["headers"])
        assert reply.status == 200
    before = send("GET", "/metrics", headers=wanted).body
    end(send)
    again = app(tmp_path / "groups.db")
    after = again("GET", "/metrics", headers=wanted).body
    for message in (b"\x31\xfc\xa9\xf1\xd2\x4d\x62\x50\x3f", b"\x0a\x01t\x12\x011"):
        assert message in before
        assert message in after
    end(again)


def test_what_expired_while_the_disk_took_nothing_does_not_come_back(tmp_path: Path) -> None:
    path, now = str(tmp_path / "groups.db"), [10**18]
    journal = Journal(path)
    store = Store(journal, clock=lambda: now[0])

    def push(text: bytes) -> None:
        store.push([Push((("job", "a"),), parse_text(text), replace=True, ttl_ns=10**9)])

    def names() -> list[set[str]]:
        return [{*one.parts} - {"push_time_seconds"} for one in store.groups()]

    push(b"old 1\n")
    now[0] += 2 * 10**9
    journal._connection.execute("PRAGMA query_only = 1")
    counted = failures.counts().get("pushgateway.storage", 0)
    assert names() == []
    assert failures.counts()["pushgateway.storage"] == counted + 1
    with pytest.raises(StorageError):
        push(b"refused 1\n")
    journal._connection.execute("PRAGMA query_only = 0")
    push(b"new 1\n")
    before = names()
    store.close()
    store = Store(Journal(path), clock=lambda: now[0])
    assert names() == before
    assert "new" in before[0]
    assert "old" not in before[0]
    store.close()


def test_deleted_and_wiped_groups_stay_away(tmp_path: Path) -> None:
    path = tmp_path / "groups.db"
    send = app(path, enable_admin_api=True)
    send("PUT", "/metrics/job/a", "a 1\nb 1\n")
    send("PUT", "/metrics/job/b", "a 1\n")
    send("PUT", "/metrics/job/a", "b 1\n")
    send("DELETE", "/metrics/job/b")
    end(send)
    again = app(path, enable_admin_api=True)
    assert 'job="b"' not in exposition(again)
    assert "\na{" not in exposition(again)
    again("PUT", "/api/v1/admin/wipe")
    end(again)
    last = app(path)
    assert exposition(last) == ""
    end(last)


def test_a_full_disk_is_told_and_takes_nothing_away(tmp_path: Path) -> None:
    send = app(tmp_path / "groups.db")
    assert send("PUT", "/metrics/job/j", "a 1\n").status == 200
    before = exposition(send)
    connection = send.app.gateway.store._journal._connection
    connection.execute("PRAGMA max_page_count = 1")  # it takes no page more
    reply = send("PUT", "/metrics/job/j", "".join(f"b_{one} 1\n" for one in range(1000)))
    assert (reply.status, "full" in reply.text) == (503, True)
    assert exposition(send) == before
    assert send("GET", "/-/healthy").status == 200
    connection.execute("PRAGMA max_page_count = 100000")
    assert send("PUT", "/metrics/job/j", "b 1\n").status == 200
    end(send)


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = partial(with_tmpfs, str(tmp_path), "size=512k")
    with serving(f"--persistence.file={tmp_path / 'groups.db'}", wrap=disk) as send:
        assert send("PUT", "/metrics/job/first", "a 1\n").status == 200
        lines = "".join(f'b{{n="{number}"}} {number}\n' for number in range(1000))
        for number in range(200):
            before, reply = exposition(send), send("PUT", f"/metrics/job/more{number}", lines)
            if reply.status != 200:
                break
        assert reply.status == 503
        assert "full" in reply.text
        assert exposition(send) == before
        assert 'a{instance="",job="first"} 1\n' in before
        assert send("DELETE", "/metrics/job/more0").status in (202, 503)
        assert send("GET", "/-/healthy").status == 200


@pytest.mark.parametrize("content", [b"no database at all", b"SQLite format 3\0" + bytes(5000)])
def test_a_corrupt_file_is_moved_aside(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "groups.db"
    path.write_bytes(content)
    send = app(path)
    told = send.app.gateway.moved_aside
    (moved,) = tmp_path.glob("groups.db.corrupt-*")
    assert str(path) in told
    assert str(moved) in told
    assert told in caplog.text
    assert moved.read_bytes() == content
    assert send("PUT", "/metrics/job/j", "a 1\n").status == 200
    end(send)


def test_a_corrupt_file_that_cannot_be_moved(tmp_path: Path) -> None:
    path = tmp_path / ("groups.db" + "x" * 230)  # there is no name that is longer by as much
    path.write_bytes(b"no database at all")
    with pytest.raises(StorageError, match="is corrupt, and cannot be moved"):
        make_asgi_app(persistence_file=str(path))


def test_a_damaged_page_is_noticed_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "groups.db"
    send = app(path)
    send("PUT", "/metrics/job/j", "".join(f"b_{one} 1\n" for one in range(2000)))
    end(send)
    content = bytearray(path.read_bytes())
    for place in range(8192, len(content), 4096):
        content[place : place + 200] = bytes(200)
    path.write_bytes(content)
    with serving(f"--persistence.file={path}") as client:
        assert client("PUT", "/metrics/job/j", "a 1\n").status == 200
    assert list(tmp_path.glob("groups.db.corrupt-*"))


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (value)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="another program"):
        Journal(str(path))
    with pytest.raises(PromMiddlewareError, match="another program"):
        make_asgi_app(persistence_file=path)
    assert path.read_bytes() == before


def test_two_processes_cannot_have_one_file(tmp_path: Path) -> None:
    path = tmp_path / "groups.db"
    with serving(f"--persistence.file={path}") as client:
        second = start(
            ["pushgateway", "--web.listen-address=127.0.0.1:0", f"--persistence.file={path}"]
        )
        _, complaint = second.communicate(timeout=60)
        assert second.returncode == 1
        assert "another process has the database open" in complaint
        assert "Traceback" not in complaint
        assert client("PUT", "/metrics/job/j", "a 1\n").status == 200


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    process = start(["pushgateway", f"--persistence.file={tmp_path}/none/groups.db"])
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, "unable to open" in complaint) == (1, True)
    assert "Traceback" not in complaint


def test_a_terminated_gateway_finishes_what_it_has_begun(tmp_path: Path) -> None:
    path = tmp_path / "groups.db"
    process, port = launched(path)
    replies: list[Reply] = []
    body = "".join(f'a{{i="{one}"}} 1\n' for one in range(20_000))

    def push() -> None:
        with Client(port) as client:
            replies.append(client("PUT", "/metrics/job/j", body))

    pushing = threading.Thread(target=push)
    pushing.start()
    time.sleep(0.1)
    process.terminate()
    process.communicate(timeout=60)
    pushing.join(30)
    assert process.returncode == 0
    journal = Journal(str(path))
    stored = len(journal.load())
    journal.close()
    assert stored == sum(reply.status == 200 for reply in replies)


def test_a_file_whose_name_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"groups\xff.db")
    send = app(path)
    assert send("PUT", "/metrics/job/a", "x 1\n").status == 200
    for page in ("/", "/metrics", "/api/v1/metrics"):
        assert send("GET", page).status == 200
    reply = send("GET", "/api/v1/status")
    assert json.loads(reply.body)["data"]["flags"]["persistence.file"] == str(path)
    end(send)
