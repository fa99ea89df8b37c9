"""`pip install .` in a clean virtual environment gives the whole product: command, core, SDK and pages."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(900)


def run(*command: str | Path, **options: object) -> str:
    """Run a command to its end and return its stdout; its stderr is in the failure."""
    words = [str(part) for part in command]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=800, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that `pip install .` builds."""
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", directory, ROOT)
    (built,) = directory.glob("parlour-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a clean virtual environment with nothing but Parlour in it."""
    venv = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", venv)
    run(venv / "bin/python", "-m", "pip", "install", "--quiet", wheel)
    return venv / "bin"


@pytest.fixture
def serving(installed: Path, tmp_path: Path) -> Iterator[str]:
    """The address of an installed `parlour serve`."""
    data = tmp_path / "data"
    command = [installed / "parlour", "serve", "--data", data, "--port", "0", "--media-port", "0", "--json"]
    environment = {"PATH": f"{installed}:/usr/bin:/bin", "HOME": str(tmp_path)}
    process = subprocess.Popen(
        [str(part) for part in command], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://[0-9.:]+", line)
        assert found, f"no address in {line!r}"
        yield found.group()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0


def test_the_wheel_carries_the_core_the_sdk_and_the_pages_and_no_source_of_them(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for wanted in (
        "parlour/_media.abi3.so",
        "parlour/py.typed",
        "parlour/static/sdk/trtc.js",
        "parlour/static/sdk/trtc.umd.js",
        "parlour/static/sdk/trtc.esm.js",
        "parlour/static/sdk/index.d.ts",
        "parlour/static/demo/index.html",
        "parlour/errors/catalogue.toml",
        "parlour/load/bursts.json",
    ):
        assert wanted in names, f"{wanted} is missing from the wheel"
    assert not [name for name in names if "node_modules" in name or name.endswith(".rs")]


def test_an_installed_server_answers_and_serves_the_sdk(serving: str) -> None:
    with urllib.request.urlopen(f"{serving}/healthz", timeout=10) as answer:
        assert json.load(answer)["status"] == "ok"
    with urllib.request.urlopen(f"{serving}/sdk/trtc.js", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith(("text/javascript", "application/javascript"))
        assert answer.headers["Cache-Control"]
        text = answer.read().decode()
    assert "createClient" in text
    assert "TRTC" in text


def test_an_installed_command_explains_a_code(installed: Path) -> None:
    narrow = {**os.environ, "COLUMNS": "80"}
    explained = json.loads(run(installed / "parlour", "explain", "70009", "--json", env=narrow))
    assert explained["code"] == 70009
    assert explained["cause"]
    assert explained["remedy"]
