"""Time until `import maskwright` and `maskwright --help` are done in a fresh interpreter.

    python benchmarks/startup.py [--runs 20]

For scale the bare interpreter is measured as well; the three take turns, so a busy moment hits all alike.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from record import record

HELP = "import sys; sys.argv = ['maskwright', '--help']; from maskwright.cli import main; main()"
STARTS = {"python alone": "pass", "import maskwright": "import maskwright", "maskwright --help": HELP}


def milliseconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=20)
    runs = arguments.parse_args().runs
    taken: dict[str, list[float]] = {start: [] for start in STARTS}
    for _ in range(runs):
        for start, code in STARTS.items():
            taken[start].append(milliseconds(code))
    record(
        "startup",
        [
            {"start": start, "ms (median)": f"{statistics.median(values):.0f}", "ms (best)": f"{min(values):.0f}"}
            for start, values in taken.items()
        ],
        command=f"python benchmarks/startup.py --runs {runs}",
        notes=[f"{runs} fresh interpreters each, in turn; whole process, from start to exit", "aim: under 500 ms"],
    )


if __name__ == "__main__":
    main()
