"""The SDK in projects of its users: packed, installed, and bundled by bundlers of v4 apps' age and of today.

webpack 5 and Vite are in ``web/sdk/tests/package.test.ts``.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SDK = ROOT / "web" / "sdk"
NODE = ROOT / "tests" / "node"

pytestmark = pytest.mark.timeout(300)

SEEN = """
const client = TRTC.createClient({ sdkAppId: 1, userId: 'ada', userSig: 'x', mode: 'live' });
console.log(JSON.stringify([typeof window, typeof TRTC.VERSION, client.getUserId(), typeof TRTC.createStream]));
"""
WHOLE = ["undefined", "string", "ada", "function"]
APPS = {
    "import": "import TRTC from '{name}';" + SEEN,
    "require": "const TRTC = require('{name}');" + SEEN,
    "by name": "import {{ VERSION, createClient, createStream }} from '{name}';"
    "const TRTC = {{ VERSION, createClient, createStream }};" + SEEN,
}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command to its end and return its stdout; its stderr is in the failure."""
    done = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the SDK is installed under its own name, and as what v4 apps depend on."""
    assert (NODE / "node_modules" / "webpack4").is_dir(), "npm --prefix tests/node ci installs the bundlers"
    folder = tmp_path_factory.mktemp("project")
    run("npm", "pack", "--silent", "--pack-destination", folder, cwd=SDK)
    (packed,) = folder.glob("*.tgz")
    (folder / "package.json").write_text('{ "name": "app", "private": true }')
    quiet = ("--silent", "--offline", "--no-audit", "--no-fund")
    run("npm", "install", *quiet, f"./{packed.name}", f"trtc-js-sdk@file:./{packed.name}", cwd=folder)
    return folder


CASES = [
    ("import", "parlour-web"),
    *((app, "trtc-js-sdk") for app in APPS),
    ("import", "trtc-js-sdk/trtc.umd.js"),
    ("require", "trtc-js-sdk/trtc.umd.js"),
    ("import", "trtc-js-sdk/trtc.esm.js"),
    ("by name", "trtc-js-sdk/trtc.esm.js"),
]


@pytest.mark.parametrize(("app", "name"), CASES)
@pytest.mark.parametrize("bundler", ["webpack4", "rollup", "esbuild"])
def test_an_app_is_bundled_and_runs_where_there_is_no_window(project: Path, bundler: str, app: str, name: str) -> None:
    folder = project / f"{bundler} {app} {name.replace('/', ' ')}"
    folder.mkdir()
    entry, output = folder / "app.js", folder / "bundle.cjs"
    entry.write_text(APPS[app].replace("{{", "{").replace("}}", "}").replace("{name}", name))
    run("node", NODE / "bundle.js", bundler, entry, output, cwd=folder)
    assert json.loads(run("node", output, cwd=folder)) == WHOLE


def test_what_is_packed_names_no_machine_and_needs_no_module_of_its_own_address(project: Path) -> None:
    files = sorted((project / "node_modules" / "parlour-web").rglob("*"))
    texts = {file.name: file.read_text() for file in files if file.is_file()}
    assert {"trtc.js", "trtc.umd.js", "trtc.mjs", "index.d.ts", "package.json", "README.md"} <= texts.keys()
    for name, text in texts.items():
        assert str(ROOT) not in text, name
        assert not re.search(r"/(home|root|work|Users)/", text), name
    assert "import.meta" not in texts["trtc.mjs"] + texts["trtc.js"]
