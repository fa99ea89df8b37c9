"""`parlour demo` as a person runs it: one link, a key that stays, a robot or why not, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"^(http://127\.0\.0\.1:(\d+))/demo/#token=([\w-]{16,})$")


class Demo:
    """A running demo."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.link = process.stdout.readline().rstrip("\n")
        found = LINK.match(self.link)
        assert found, f"not the link: {self.link!r}"
        self.url, self.port, self.token = found[1], int(found[2]), found[3]

    def post(self, **body: str) -> tuple[int, dict[str, object]]:
        """What `/demo/usersig` answers."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/demo/usersig", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, {}


@contextmanager
def demo(folder: Path, *options: str, **environment: str) -> Iterator[Demo]:
    """A demo, ended with Ctrl-C; its stderr is in ``folder/err``."""
    command = [sys.executable, "-m", "parlour", "demo", "--port", "0", "--media-port", "0", *options]
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "python"), **environment}
    with (folder / "err").open("w") as err:
        process = subprocess.Popen(command, cwd=folder, env=variables, text=True, stdout=subprocess.PIPE, stderr=err)
    try:
        yield Demo(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert process.stdout is not None
        assert process.stdout.read() == "", "more than the link on stdout"
    finally:
        process.kill()
        process.wait()


def test_the_link_is_all_of_stdout_and_opens_page_and_signatures(tmp_path: Path) -> None:
    with demo(tmp_path) as running:
        with urllib.request.urlopen(f"{running.url}/demo/", timeout=10) as answer:
            assert "Parlour" in answer.read().decode()
        status, answer = running.post(token=running.token, userId="ann")
        assert status == 200
        assert set(answer) == {"sdkAppId", "userSig"}
        assert running.post(token="x" * len(running.token), userId="ann")[0] == 403
        assert running.post(userId="ann")[0] == 403
    said = (tmp_path / "err").read_text()
    assert "Robot in room 1" in said
    assert running.token not in said
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", running.port))


def test_a_second_demo_keeps_the_app_and_has_a_new_token(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "parlour", "app", "list", "--keys", "--json", "--data", ".demo"]
    listed, tokens = [], []
    for _ in range(2):
        with demo(tmp_path, "--no-robot") as running:
            tokens.append(running.token)
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
        done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
        listed.append(json.loads(done.stdout))
    assert listed[0] == listed[1] != []
    assert tokens[0] != tokens[1]


def test_without_the_codecs_it_says_so_and_runs_without_robot(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden" / "av"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('not installed')\n")
    path = f"{hidden.parent}{os.pathsep}{ROOT / 'python'}"
    with demo(tmp_path, PYTHONPATH=path) as running:
        assert running.post(token=running.token, userId="ann")[0] == 200
    said = (tmp_path / "err").read_text()
    assert "No robot" in said
    assert "demo" in said


def test_a_server_that_is_no_demo_gives_no_signatures(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "parlour", "serve", "--port", "0", "--media-port", "0", "--json", "--data", "data"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        for route in ("/demo/", "/demo/usersig"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url + route, timeout=10)
            assert refused.value.code in (404, 405)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
