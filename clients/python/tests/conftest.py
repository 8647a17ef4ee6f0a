"""A real keylend for the tests, the program that `KEYLEND_TEST_PROGRAM` names, and whatever stands in its way."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

import keylend
from keylend import default

PATIENCE = 60.0

#: The pool that the tests of exactness have to themselves.
TOML = """
[pools.crowd]
uses_per_key = 4
[pools.made]
uses_per_key = 4
[pools.made.generate]
command = ["sh", "-c", "echo sk-made-$$-0123456789"]
[pools.refused]
uses_per_key = 4
[pools.refused.generate]
command = ["false"]
"""


class Server:
    """A keylend on an embedded store of its own."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        program = os.environ.get("KEYLEND_TEST_PROGRAM")
        if not program:
            pytest.fail("set KEYLEND_TEST_PROGRAM to the keylend to test against: cargo build, target/debug/keylend")
        (folder / "keylend.toml").write_text(TOML, encoding="utf-8")
        environment = {"PATH": os.environ["PATH"], "KEYLEND_DATA": str(folder / "keylend.db"), **settings}
        self.program, self.folder, self.environment = program, folder, environment
        self.log: list[str] = []
        self.url = ""
        self._process: Optional[subprocess.Popen[str]] = None
        self.start("127.0.0.1:0")

    def start(self, address: str) -> None:
        """Starts it, and waits until it says where it serves."""
        self._process = subprocess.Popen(
            [self.program, "serve", "--listen", address],
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        started = threading.Event()

        def read() -> None:
            assert self._process is not None and self._process.stderr is not None
            for line in self._process.stderr:
                self.log.append(line)
                if 'event="started"' in line:
                    port = re.search(r"127\.0\.0\.1:(\d+)", line)
                    assert port is not None
                    self.url = f"http://127.0.0.1:{port.group(1)}"
                    started.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        deadline = time.monotonic() + PATIENCE
        while not started.wait(0.01):
            # Its log has ended: it does not start, with an older program for one, which does not know these settings.
            if not reader.is_alive() or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"{self.program} does not serve:\n" + "".join(self.log))

    def stop(self) -> None:
        """Ends it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def run(self, *arguments: str, given: str = "") -> str:
        """What a command of the program prints."""
        done = subprocess.run(
            [self.program, *arguments],
            cwd=self.folder,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def add(self, pool: str, *keys: str) -> None:
        """Adds keys."""
        self.run("keys", "add", "--pool", pool, "-", given="\n".join(keys))

    def key(self, pool: str, api_key: str) -> dict[str, Any]:
        """A key as operators see it."""
        shown: dict[str, Any] = json.loads(
            self.run("keys", "show", "--pool", pool, "--secret", "-", "--json", given=api_key)
        )
        return shown


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that needs no tokens."""
    server = Server(tmp_path_factory.mktemp("server"), {})
    yield server
    server.stop()


@pytest.fixture
def server(session: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The same, without keys, and the environment's."""
    for pool in ("stability", "crowd", "made", "refused"):
        keys = subprocess.run(
            [session.program, "keys", "list", "--pool", pool, "--json"],
            cwd=session.folder,
            env=session.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        ids = [json.loads(line)["id"] for line in keys.stdout.splitlines()]
        if ids:
            session.run("keys", "remove", "--pool", pool, "--yes", *ids)
    asked_at(monkeypatch, session.url)
    yield session


def asked_at(monkeypatch: pytest.MonkeyPatch, url: str, token: Optional[str] = None) -> None:
    """Lets the clients of the environment ask there."""
    monkeypatch.setenv("KEYLEND_URL", url)
    for name in ("KEYLEND_TOKEN", "KEYLEND_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    if token is not None:
        monkeypatch.setenv("KEYLEND_TOKEN", token)
    default._forget()


@pytest.fixture
def shim(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder by which the old documentation's imports are found."""
    folder = Path(__file__).parent.parent / "shim"
    monkeypatch.syspath_prepend(str(folder))
    yield
    for name in [name for name in sys.modules if name == "models" or name.startswith("StabilityApiGenerator")]:
        del sys.modules[name]


def until(so: Callable[[], bool]) -> None:
    """Waits until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not so():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.01)


class Way:
    """A way to a server on which things go wrong, one after another, request by request.

    Each is a function of what the server answered: what it returns is sent on, None hangs up. `before`: instead of
    asking the server at all.
    """

    def __init__(self, url: str) -> None:
        self._to = url.rpartition(":")[2]
        self.faults: list[Callable[[bytes], Optional[bytes]]] = []
        self.before: list[Optional[bytes]] = []
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Closes it."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, connection: socket.socket) -> None:
        with connection:
            request = read_message(connection)
            if not request:
                return
            self.requests.append(request)
            if self.before:
                answer = self.before.pop(0)
            else:
                with socket.create_connection(("127.0.0.1", int(self._to))) as server:
                    server.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                    answer = read_message(server)
                answer = self.faults.pop(0)(answer) if self.faults else answer
            if answer is not None:
                connection.sendall(answer)


def read_message(connection: socket.socket) -> bytes:
    """A request or an answer with its body."""
    read = b""
    while b"\r\n\r\n" not in read:
        piece = connection.recv(65536)
        if not piece:
            return read
        read += piece
    head = read.partition(b"\r\n\r\n")[0]
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    whole = len(head) + 4 + (int(length.group(1)) if length else 0)
    while len(read) < whole:
        piece = connection.recv(65536)
        if not piece:
            break
        read += piece
    return read


def said(status: str, body: str = "", headers: str = "") -> bytes:
    """An answer."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n{body}".encode()


@pytest.fixture
def way(server: Server) -> Iterator[Way]:
    """A way to the server on which nothing goes wrong yet."""
    way = Way(server.url)
    yield way
    way.close()


@pytest.fixture
def client(server: Server) -> Iterator[keylend.Client]:
    """A client of the server."""
    with keylend.Client(server.url) as client:
        yield client
