"""Measures what the edge costs and holds, on a lab of its own, and prints a table.

Nothing is asserted: the figures belong to the computer they were measured on, which here runs clients, load
balancer, app, database and cache at the same time. So the throughput through the load balancer stands beside
that of the processes themselves, taken in turn in the same run.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"
SUBNET = os.environ.get("BENCHMARK_LAB_SUBNET", "10.89.79.0/24")
ENVIRONMENT = {
    **os.environ,
    "LAB_NAME": os.environ.get("BENCHMARK_LAB_NAME", "payaid-bench"),
    "LAB_SUBNET": SUBNET,
}
INVENTORY = "inventories/lab"
NETWORK = SUBNET.rsplit(".", 1)[0]
BALANCER = f"https://{NETWORK}.11"
PROCESSES = [f"http://{NETWORK}.{node}:{port}" for node in (21, 22, 23) for port in (3000, 3001)]
ROUNDS, SECONDS, CONNECTIONS = 5, 15, 48
# Until a round is no longer this much faster than the best one before.
WARM, WARM_ROUNDS = 1.03, 10
PATIENCE = 10  # s; processes that were just started are slow, all at once the more so
CLIENTS, RAMP, HOLD = 10_000, 90, 90
SHARE = 0.5  # of what the processes can do at most, for the clients that stay connected


def run(*argv: str, **more: str) -> str:
    """Run a command to its end and return its output, which is shown when it fails."""
    done = subprocess.run(  # noqa: S603  # ours
        argv, cwd=ROOT, env=ENVIRONMENT | more, text=True, capture_output=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(argv)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def playbook(name: str, *words: str) -> float:
    began = time.monotonic()
    run(str(BIN / "ansible-playbook"), "-i", INVENTORY, name, *words)
    took = time.monotonic() - began
    say(f"{took:.1f} s for {name}")
    return took


def throughput(urls: list[str]) -> float:
    """Return how many requests a second are answered, over as many kept connections in all."""
    each = str(CONNECTIONS // len(urls))
    running = [
        subprocess.Popen(  # noqa: S603  # ours
            [
                *("wrk", "-t1", f"-c{each}", f"-d{SECONDS}s", f"--timeout={PATIENCE}s"),
                *("-HX-Tenant-ID: benchmark", f"{url}/api/contacts"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for url in urls
    ]
    total = 0.0
    for one in running:
        said = one.communicate()[0]
        if one.returncode or "Non-2xx" in said or "Socket errors" in said:
            sys.exit(f"wrk failed:\n{said}")
        total += float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])
    say(f"{total:.0f}/s from {', '.join(urls)}")
    return total


def warm_up() -> None:
    """Ask until it gets no faster: Node.js compiles what it runs often, over minutes."""
    best = throughput(PROCESSES)
    for _round in range(WARM_ROUNDS):
        now = throughput(PROCESSES)
        if now < best * WARM:
            return
        best = now


def pair(*, balancer_first: bool) -> tuple[float, float]:
    """Return the throughput of the processes and that of the load balancer, one right after the other."""
    if balancer_first:
        through = throughput([BALANCER])
        return throughput(PROCESSES), through
    return throughput(PROCESSES), throughput([BALANCER])


def say(what: str) -> None:
    """Show what is measured while it is: the table comes at the end, and not after a failure."""
    print(what, file=sys.stderr, flush=True)


def hold(rate: float) -> dict[str, float]:
    """Keep all clients connected, who together ask at this rate; return what they saw once all were there."""
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        given = {
            "SUMMARY": summary,
            "TARGET": BALANCER,
            "CLIENTS": CLIENTS,
            "THINK": CLIENTS / rate,
            "RAMP": RAMP,
            "HOLD": HOLD,
        }
        words = [word for name, value in given.items() for word in ("--env", f"{name}={value}")]
        script = str(ROOT / "tests/benchmarks/edge.js")
        run(str(BIN / "k6"), "run", "--quiet", *words, script)
        metrics = json.loads(summary.read_text())
    return {
        "asked": metrics["steady"]["count"],
        "median": metrics["steady"]["med"],
        "p95": metrics["steady"]["p(95)"],
        "p99": metrics["steady"]["p(99)"],
        "failed": metrics.get("failed", {}).get("count", 0),
    }


def main() -> None:
    playbook("playbooks/lab_down.yml")
    try:
        playbook("playbooks/lab_up.yml")
        playbook("site.yml")
        deploy = playbook("playbooks/release.yml", "-e", "app_node_release=benchmark")
        again = playbook("playbooks/release.yml", "-e", "app_node_release=benchmark")
        warm_up()
        pairs = [pair(balancer_first=bool(number % 2)) for number in range(ROUNDS)]
        direct, through = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for other, one in pairs)
        rate = round(SHARE * through)
        held = hold(rate)
    finally:
        playbook("playbooks/lab_down.yml")
    print(f"{os.cpu_count()} cores, {INVENTORY}, Debian {os.environ.get('LAB_DEBIAN', '13')}\n")
    print("| what | |\n|---|---:|")
    rows = {
        f"GET /api/contacts, cached, from {len(PROCESSES)} processes": f"{direct:.0f}/s",
        "the same through the load balancer, with TLS": f"{through:.0f}/s",
        f"ratio, median of {ROUNDS} rounds": f"{ratio:.2f}",
        f"{CLIENTS} clients connected, asking {rate}/s together: median": f"{held['median']:.1f} ms",
        "p95": f"{held['p95']:.1f} ms",
        "p99": f"{held['p99']:.1f} ms",
        "failed": f"{held['failed']:.0f} of {held['asked']:.0f}",
        "a release on 3 nodes, one after the other (playbooks/release.yml)": f"{deploy:.1f} s",
        "the same playbook with nothing to do": f"{again:.1f} s",
    }
    for what, value in rows.items():
        print(f"| {what} | {value} |")


if __name__ == "__main__":
    main()
