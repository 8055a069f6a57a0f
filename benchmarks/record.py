"""Where benchmark numbers are written: one file a benchmark, with date, hardware, versions, commit and command.

A number without these is no number: every script ends in record(), and what the docs quote stands in benchmarks/results.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import packages_distributions, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"

Cell = str | int | float


def record(name: str, rows: Sequence[Mapping[str, Cell]], command: str, notes: Sequence[str] = ()) -> Path:
    """Write results/<name>.md: a table of the rows, then how they came about.

    Args:
        rows: one a measurement, all with the same keys, which become the columns
        command: what to run to get them again
        notes: protocol and cautions, one sentence each

    Returns:
        the file
    """
    facts = [
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"hardware: {hardware()}",
        f"versions: {versions()}",
        f"commit: {commit()}",
        f"load of the machine when it ended (1, 5, 15 min): {', '.join(f'{v:.1f}' for v in os.getloadavg())}",
        f"command: `{command}`",
    ]
    text = "\n".join([f"# {name}", "", *table(rows), "", *(f"- {line}" for line in (*notes, *facts)), ""])
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    path.write_text(text, encoding="utf-8")
    print(text)
    return path


def table(rows: Sequence[Mapping[str, Cell]]) -> list[str]:
    """The rows as a Markdown table; floats with three significant digits."""
    columns = list(rows[0])
    shown = [[f"{row[c]:.3g}" if isinstance(row[c], float) else str(row[c]) for c in columns] for row in rows]
    lines = [columns, ["---" if isinstance(rows[0][c], str) else "---:" for c in columns], *shown]
    return [f"| {' | '.join(line)} |" for line in lines]


def hardware() -> str:
    """Processor, cores, memory and accelerators."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"]
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        parts += [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return "; ".join(parts)


def processor() -> str:
    """Model name of the processor with family and model numbers, which tell hidden cloud names apart."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor() or platform.machine()
    pairs = (line.split(":", 1) for line in info.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in pairs}
    numbers = f"family {fields['cpu family']} model {fields['model']}" if "cpu family" in fields else ""
    return f"{fields.get('model name', platform.machine())} {numbers}".strip()


def versions() -> str:
    """Python, and every installed package that this process has imported by name, with what counts for numbers first."""
    first = ("maskwright", "torch", "numpy")
    owners = packages_distributions()
    wanted = {
        *first,
        "torchvision",
        "timm",
        "scipy",
        "PIL",
        "sklearn",
        "torchmetrics",
        "segmentation_models_pytorch",
        "monai",
        "openvino",
    }
    loaded = sorted((m for m in wanted if m in sys.modules), key=lambda m: (m not in first, m))
    return ", ".join(
        [f"Python {platform.python_version()}", *(f"{owners[m][0]} {version(owners[m][0])}" for m in loaded if m in owners)]
    )


def commit() -> str:
    """Short hash of the checked-out commit, and whether files differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return f"{git('rev-parse', '--short', 'HEAD') or 'none yet'}{' with changes' if git('status', '--porcelain') else ''}"
