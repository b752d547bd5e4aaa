"""The other sides: real ones, and ones that behave badly."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from ports import free_port
from prom_middleware.parser import text_string_to_metric_families
from servers.scrapers import Scraper
from servers.support import launched, running
from waiting import eventually

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Families:
    """A collector of given families."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families

    def describe(self) -> Sequence[Metric]:
        return ()


def registry_of(*families: Metric) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Families(*families))
    return registry


def gauge(name: str, *samples: tuple[Mapping[str, str], float]) -> Metric:
    metric = Metric(name, "help", "gauge")
    for labels, value in samples:
        metric.add_sample(name, dict(labels), value)
    return metric


def page(registry: CollectorRegistry) -> Samples:
    """Return a registry's samples as a scraper reads them."""
    from prom_middleware.exposition.negotiation import negotiate

    text = b"".join(negotiate("text/plain").render(list(registry.collect()))).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Sink:
    """A server that keeps what it is sent, one element for each connection."""

    def __init__(self) -> None:
        self.received: list[bytearray] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        self.url = f"graphite://127.0.0.1:{self.address[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def text(self) -> str:
        return b"".join(map(bytes, self.received)).decode()

    @property
    def lines(self) -> list[str]:
        """The lines without their times."""
        return [line.rpartition(" ")[0] for line in self.text.splitlines()]

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        content = bytearray()
        self.received.append(content)
        with suppress(OSError):
            while chunk := connection.recv(65536):
                content += chunk


class Deaf(Sink):
    """Accepts, and never reads."""

    def _serve(self, connection: socket.socket) -> None:
        self.received.append(bytearray())


class Closing(Sink):
    """Accepts, and closes at once."""

    def _serve(self, connection: socket.socket) -> None:
        self.received.append(bytearray())
        connection.close()


@contextmanager
def carbon(program: str, directory: Path) -> Iterator[tuple[int, Path]]:
    """Run a carbon-cache; return its port for lines, and where its files of numbers are."""
    port = free_port()
    storage, numbers = directory / "storage", directory / "storage" / "whisper"
    for one in (storage, numbers, storage / "log"):
        one.mkdir()
    (directory / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1s:1h\n")
    configuration = directory / "carbon.conf"
    configuration.write_text(
        f"""[cache]
STORAGE_DIR = {storage}
CONF_DIR = {directory}
LOG_DIR = {storage / "log"}
PID_DIR = {directory}
LOCAL_DATA_DIR = {numbers}
USER =
ENABLE_LOGROTATION = False
ENABLE_TAGS = False
MAX_UPDATES_PER_SECOND = inf
MAX_CREATES_PER_MINUTE = inf
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {port}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {free_port()}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {free_port()}
"""
    )
    command = [program, f"--config={configuration}", "--nodaemon", "start"]
    with launched(command, port):
        assert eventually(lambda: _listens(port), bool, 60.0)
        yield port, numbers


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def whisper_value(program: str, file: Path) -> float | None:
    """Return the last number in a file of carbon's."""
    if not file.exists():
        return None
    done = subprocess.run([program, file], capture_output=True, text=True, timeout=60)
    values = [line.split()[1] for line in done.stdout.splitlines() if line.strip()]
    known = [float(value) for value in values if value != "None"]
    return known[-1] if known else None


class Victoria(Scraper):
    """A VictoriaMetrics that takes Graphite's lines and OTLP."""

    graphite_port: int

    def flushed(self) -> Victoria:
        """Return it with all that it has got open to queries, which else takes some seconds."""
        self.server.client.get("/internal/force_flush")
        return self


@contextmanager
def victoria(program: str, directory: Path) -> Iterator[Victoria]:
    port, graphite_port = free_port(), free_port()
    command = [
        program,
        f"-storageDataPath={directory / 'data'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-graphiteListenAddr=127.0.0.1:{graphite_port}",
        "-search.latencyOffset=1ms",
        "-loggerLevel=WARN",
    ]
    with running(command, port, "/health") as server:
        scraper = Victoria(server)
        scraper.graphite_port = graphite_port
        yield scraper
