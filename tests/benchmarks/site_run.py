"""Times what people wait for, on a lab of its own, and prints a table.

Nothing is asserted: the figures belong to the computer they were measured on. Each is set beside a reference
taken in the same run, the time that one `ansible.builtin.ping` of the same machines takes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"
ENVIRONMENT = {
    **os.environ,
    "LAB_NAME": os.environ.get("BENCHMARK_LAB_NAME", "payaid-bench"),
    "LAB_SUBNET": os.environ.get("BENCHMARK_LAB_SUBNET", "10.89.79.0/24"),
}
INVENTORY = "inventories/lab_small" if os.environ.get("LAB_SIZE") == "small" else "inventories/lab"


def timed(*argv: str) -> float:
    """Run a command to its end and return the seconds it took; its output is shown only when it fails."""
    began = time.monotonic()
    done = subprocess.run(argv, cwd=ROOT, env=ENVIRONMENT, text=True, capture_output=True, check=False)  # noqa: S603  # ours
    if done.returncode:
        sys.exit(f"{' '.join(argv)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}")
    return time.monotonic() - began


def playbook(name: str) -> float:
    return timed(str(BIN / "ansible-playbook"), "-i", INVENTORY, name)


def main() -> None:
    rows: list[tuple[str, float]] = []
    playbook("playbooks/lab_down.yml")
    try:
        rows.append(("lab-up, image at hand", playbook("playbooks/lab_up.yml")))
        rows.append(("app, unchanged", timed("make", "app")))
        ping = timed(str(BIN / "ansible"), "-i", INVENTORY, "lab", "-m", "ansible.builtin.ping")
        rows.append(("reference: one ping of every machine", ping))
        rows.append(("site.yml on bare machines", playbook("site.yml")))
        rows.append(("site.yml again, unchanged", playbook("site.yml")))
        rows.append(
            ("site.yml --check", timed(str(BIN / "ansible-playbook"), "-i", INVENTORY, "site.yml", "--check"))
        )
    finally:
        rows.append(("lab-down", playbook("playbooks/lab_down.yml")))
    print(f"{os.cpu_count()} cores, {INVENTORY}, Debian {os.environ.get('LAB_DEBIAN', '13')}\n")
    print("| what | seconds | pings |\n|---|---:|---:|")
    for what, seconds in rows:
        print(f"| {what} | {seconds:.1f} | {seconds / ping:.1f} |")


if __name__ == "__main__":
    main()
