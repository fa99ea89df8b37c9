"""What the dashboard shows of a call that gets worse and better: ``python -m bench.dashboard [--out FOLDER]``.

Two Chromium pages call each other; the path of one is good, then narrow, then loses and delays, then good again.
A Prometheus (``--prometheus``; Debian's package has it) scrapes the server all the while. Then each query of
``docs/grafana-dashboard.json`` is asked for the time of the call, as Grafana would, and drawn: ``dashboard.html`` and
``dashboard.png`` in the folder, to be looked at. Queries that give nothing are told, and the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from tests.browser.harness import ALWAYS, CHROMIUM, Profile
from tests.browser.networks import SERVER, Network

ROOT = Path(__file__).resolve().parent.parent
DASHBOARD = ROOT / "docs" / "grafana-dashboard.json"
TOKEN = "the-token-of-this-bench"
LISTENS = "127.0.0.1:9090"
SHOWN = Profile(width=640, height=360, rate=15, bitrate=800)
COLOURS = ("#3b78c3", "#d9822b", "#2f9e5b", "#c2405d", "#7d57c2", "#7a7a2c", "#2aa3a3", "#8a5a44")

Conditions = dict[str, float | int | None]
GOOD: Conditions = {"delay": 0.0, "loss": 0.0, "rate": None}
STEPS: tuple[tuple[str, float, Conditions], ...] = (
    ("good", 25, GOOD),
    ("300 kbit/s", 25, {"delay": 0.02, "loss": 0.0, "rate": 300_000}),
    ("10 % lost, 200 ms each way", 25, {"delay": 0.2, "loss": 0.1, "rate": None}),
    ("good again", 35, GOOD),
)

WITHOUT_SAMPLES = {"parlour_requests_refused_total", "parlour_stream_subscribers_short"}
"""What does not happen in this call, or need not: a publisher that adapts in time leaves nobody short."""


@dataclass(frozen=True)
class Drawn:
    """A panel with what its queries gave: names, and points of time and value."""

    title: str
    unit: str
    lines: list[tuple[str, list[tuple[float, float]]]]


async def call(network: Network) -> list[tuple[str, float]]:
    """The call. Returns when each step began."""
    spoiled, other = await asyncio.gather(
        network.invite("alice", "bigbuckbunny", path=network.path()), network.invite("bob", "bikes")
    )
    await asyncio.gather(spoiled.join(1), other.join(1))
    await asyncio.gather(spoiled.publish(SHOWN), other.publish(SHOWN))
    assert spoiled.path is not None
    began = []
    for name, seconds, conditions in STEPS:
        began.append((name, time.time()))
        for link in (spoiled.path.up, spoiled.path.down):
            link.change(**conditions)
        await asyncio.sleep(seconds)
    return began


class Prometheus:
    """One that scrapes a server once a second, in its network."""

    def __init__(self, binary: str, network: Network, folder: Path) -> None:
        target = network.server.url.removeprefix("http://")
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            "scrape_configs:\n"
            "- job_name: parlour\n"
            f"  authorization: {{credentials: {TOKEN}}}\n"
            f"  static_configs: [{{targets: ['{target}']}}]\n"
        )
        command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder}"]
        command.append(f"--web.listen-address={LISTENS}")
        self._network = network
        self._process = subprocess.Popen(
            network.namespace.command(*command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def ask(self, what: str, **parameters: object) -> Any:
        """An answer of its API."""
        url = f"http://{LISTENS}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        return self._network.namespace.call(lambda: json.load(urllib.request.urlopen(url, timeout=20)))["data"]

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)


def drawn(prometheus: Prometheus, panel: Any, start: float, end: float) -> tuple[Drawn, list[str]]:
    """A panel, and those of its queries that gave nothing."""
    lines, empty = [], []
    for target in panel["targets"]:
        query = target["expr"].replace("$__rate_interval", "5s").replace("$room", ".*").replace("$user", ".*")
        answer = prometheus.ask("query_range", query=query, start=start, end=end, step=1)
        if not answer["result"] and not any(name in query for name in WITHOUT_SAMPLES):
            empty.append(query)
        for series in answer["result"]:
            name = target["legendFormat"]
            for label, value in series["metric"].items():
                name = name.replace("{{" + label + "}}", value)
            name = re.sub(r"\{\{\w+\}\}", "", name)
            points = [(at, float(value)) for at, value in series["values"] if value != "NaN"]
            lines.append((name, points))
    return Drawn(panel["title"], panel["fieldConfig"]["defaults"].get("unit", ""), lines), empty


def chart(of: Drawn, start: float, end: float, steps: list[tuple[str, float]]) -> str:
    """A panel as SVG."""
    wide, high, left = 420, 150, 52
    most = max((value for _, points in of.lines for _, value in points), default=0) or 1

    def x(at: float) -> float:
        return left + (at - start) / (end - start) * (wide - left)

    marks = "".join(f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="0" y2="{high}" class="step"/>' for _, at in steps)
    lines = "".join(
        f'<polyline fill="none" stroke="{COLOURS[number % len(COLOURS)]}" points="'
        + " ".join(f"{x(at):.1f},{high - value / most * (high - 8):.1f}" for at, value in points)
        + '"/>'
        for number, (_, points) in enumerate(of.lines)
    )
    names = "".join(
        f'<span><i style="background:{COLOURS[number % len(COLOURS)]}"></i>{html.escape(name.strip())}</span>'
        for number, (name, _) in enumerate(of.lines)
    )
    return (
        f"<figure><figcaption>{html.escape(of.title)}</figcaption>"
        f'<svg width="{wide}" height="{high + 2}"><text x="0" y="10">{most:.4g} {html.escape(of.unit)}</text>'
        f'<text x="0" y="{high}">0</text>{marks}{lines}</svg><p>{names}</p></figure>'
    )


def page(charts: list[str], steps: list[tuple[str, float]], start: float) -> str:
    """All of them."""
    told = ", ".join(f"{at - start:.0f} s: {name}" for name, at in steps)
    style = (
        "body{font:12px sans-serif;margin:12px;background:#fff}main{display:flex;flex-wrap:wrap;gap:12px}"
        "figure{margin:0;width:424px;border:1px solid #ddd;padding:6px}figcaption{font-weight:bold}"
        "text{font-size:10px;fill:#666}.step{stroke:#bbb;stroke-dasharray:3}polyline{stroke-width:1.3}"
        "p{margin:2px 0;line-height:1.3}span{margin-right:8px;white-space:nowrap}"
        "i{display:inline-block;width:8px;height:8px;margin-right:3px}"
    )
    return (
        f"<!doctype html><meta charset=utf-8><style>{style}</style><h1>The dashboard's panels, of a call</h1>"
        f"<p>The path of alice, both ways. {html.escape(told)}.</p><main>{''.join(charts)}</main>"
    )


async def measure(binary: str, out: Path) -> int:
    """Do all of it."""
    os.environ["PARLOUR_METRICS__TOKEN"] = TOKEN
    charts, empty = [], []
    with tempfile.TemporaryDirectory() as folder:
        async with async_playwright() as playwright, Network(playwright, Path(folder) / "network") as network:
            assert SERVER in network.server.url
            prometheus = Prometheus(binary, network, Path(folder))
            try:
                steps = await call(network)
                start, end = steps[0][1], time.time()
                for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
                    if panel.get("targets"):
                        one, nothing = drawn(prometheus, panel, start, end)
                        charts.append(chart(one, start, end, steps[1:]))
                        empty += nothing
            finally:
                prometheus.stop()
        text = page(charts, steps, start)
        (out / "dashboard.html").write_text(text, encoding="utf-8")
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ALWAYS)
            shown = await browser.new_page(viewport={"width": 1800, "height": 1000})
            await shown.set_content(text)
            await shown.screenshot(path=out / "dashboard.png", full_page=True)
            await browser.close()
    print(out / "dashboard.png")
    for query in empty:
        print(f"nothing came of {query}", file=sys.stderr)
    return 1 if empty else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--prometheus", default=shutil.which("prometheus"), help="the binary of Prometheus")
    parser.add_argument("--out", type=Path, default=Path("dashboard"), help="the folder for the page and its picture")
    given = parser.parse_args()
    if given.prometheus is None:
        parser.error("there is no prometheus: apt-get install prometheus, or name the binary with --prometheus")
    given.out.mkdir(parents=True, exist_ok=True)
    return asyncio.run(measure(given.prometheus, given.out))


if __name__ == "__main__":
    sys.exit(main())
