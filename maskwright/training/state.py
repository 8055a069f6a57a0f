"""Exact resume: everything a run needs to go on to the same bits, in one file without pickle.

`state/last.safetensors` holds the tensors of the network, its average and the optimizer by parameter name, and the
random state; scalars and parameter groups stand as JSON in the file's metadata. One file is replaced in one step, so a
kill at any moment leaves a whole state: the old one or the new one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from maskwright.errors import CheckpointError
from maskwright.io.write import atomic

FORMAT = "maskwright-state-1"


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: optimizer steps done
        seconds: time spent in training so far, over all sittings
        best_score, best_step: of the best validation; -1 before the first
        since_best: validations since then
        log_bytes: length of log.jsonl that belongs to this state; later lines are dropped on resume
    """

    step: int = 0
    seconds: float = 0.0
    best_score: float = -1.0
    best_step: int = -1
    since_best: int = 0
    log_bytes: int = 0


def save_state(
    path: Path, *, net: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, data_hash: str
) -> None:
    """Write the whole state in one atomic step.

    Raises:
        InputError: the disk is full or not writable; the state saved before is still there.
    """
    tensors = {f"net.{k}": v for k, v in net.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    names: dict[Tensor, str] = {p: name for name, p in net.named_parameters()}
    scalars: dict[str, dict[str, Any]] = {}
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{names[parameter]}.{key}"] = value
            else:
                scalars.setdefault(names[parameter], {})[key] = value
    groups = [
        {**{k: v for k, v in g.items() if k != "params"}, "params": [names[p] for p in g["params"]]}
        for g in optimizer.param_groups
    ]
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    facts = {"format": FORMAT, "progress": asdict(progress), "groups": groups, "scalars": scalars, "data_hash": data_hash}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        # clone: tensors that share memory cannot be stored twice
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, temporary, {"state": json.dumps(facts)})


def load_state(path: Path, *, net: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, data_hash: str) -> Progress:
    """Put everything back where save_state found it, in the memory layout that net has now.

    Raises:
        CheckpointError: there is no state, it is damaged, it belongs to another network, or the data has changed since.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path.parent.parent}: nothing to resume (no {path.parent.name}/{path.name}); train without --resume."
        )
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get("state", "{}"))
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - safe_open is not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: the saved state is damaged ({error}); start again without --resume.") from error
    if facts.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a state of this version (found {facts.get('format')!r}, expected {FORMAT!r}).")
    if facts["data_hash"] != data_hash:
        raise CheckpointError(
            f"{path}: the data has changed since the run was interrupted, so it cannot go on to the same bits; start a new run."
        )
    try:
        net.load_state_dict(_part(tensors, "net."))
        average.load_state_dict(_part(tensors, "average."))
        _restore_optimizer(optimizer, net, tensors, facts)
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(f"{path}: the state belongs to another network ({error}); give the run's own recipe.") from error
    torch.set_rng_state(tensors["random.cpu"])
    if torch.cuda.is_available() and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return Progress(**facts["progress"])


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, net: nn.Module, tensors: dict[str, Tensor], facts: dict[str, Any]
) -> None:
    parameters = dict(net.named_parameters())
    for group, saved in zip(optimizer.param_groups, facts["groups"], strict=True):
        group.update({k: v for k, v in saved.items() if k != "params"})
        group["params"] = [parameters[name] for name in saved["params"]]
        if "betas" in group:
            group["betas"] = tuple(group["betas"])  # JSON has no tuples
    optimizer.state.clear()
    for name, tensor in _part(tensors, "optimizer.").items():
        owner, _, key = name.rpartition(".")
        parameter = parameters[owner]
        # Same strides as the parameter: the fused kernels round differently on another memory layout.
        like = (
            torch.empty_like(parameter) if tensor.shape == parameter.shape else torch.empty_like(tensor, device=parameter.device)
        )
        optimizer.state[parameter][key] = like.copy_(tensor)
    for name, values in facts["scalars"].items():
        optimizer.state[parameters[name]].update(values)
