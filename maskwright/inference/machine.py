"""What this machine computes on, told without torch where that can be, in torch's words: so both find what was kept.

Where torch is loaded it is asked itself. Where it is not, Linux says it on its own; elsewhere torch is loaded and asked.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from maskwright.later import torch, torch_is_loaded

if TYPE_CHECKING:
    from torch import device as TorchDevice  # a class that torch writes small

_AVX512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma"}
_BF16 = {"avx512_bf16", "amx_tile"}
# Any of them may mean that torch has a GPU: NVIDIA's, those of its small machines, the same in WSL, AMD's.
_ACCELERATORS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvhost-ctrl", "/dev/nvgpu", "/dev/nvmap", "/dev/dxg", "/dev/kfd")
# By these torch decides otherwise than by what the machine has.
_TOLD_KERNELS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_TOLD_THREADS = ("MKL_NUM_THREADS", "OMP_NUM_THREADS")  # the first that is set counts


class Device(Protocol):
    """What both torch.device and Cpu are."""

    @property
    def type(self) -> str: ...


@dataclass(frozen=True)
class Cpu:
    """The processor, where torch need not be there to name it."""

    type: str = "cpu"


def as_torch(device: Device) -> TorchDevice:
    return device if isinstance(device, torch.device) else torch.device(device.type)


def has_cpu_alone(wished: object) -> bool:
    """Whether a wish for a device (choose_device) can only mean the processor; False too where only torch knows."""
    if str(wished) != "auto":
        return str(wished) == "cpu"
    return sys.platform == "linux" and not any(Path(place).exists() for place in _ACCELERATORS)


def device_of(wished: str | TorchDevice) -> Device:
    """The device by its name, see backends.choose_device; the processor without loading torch where it can be no other."""
    from maskwright.inference.backends import choose_device

    return Cpu() if not torch_is_loaded() and has_cpu_alone(wished) else choose_device(wished)


def thread_count() -> int:
    """How many threads compute: torch's number."""
    return (None if torch_is_loaded() else _threads()) or torch.get_num_threads()


def computes_bf16(device: Device) -> bool:
    """Whether bf16 runs in hardware; emulated it is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    flags = None if torch_is_loaded() else _flags()
    if flags is not None:
        return not _BF16.isdisjoint(flags)
    known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch has no public name for these
    return any(getattr(torch.cpu, name, lambda: False)() for name in known)


def processor() -> str:
    """The processor's name, its vectors and whether it computes bf16, on which kernels are chosen."""
    name = _said().get("model name") or platform.processor() or platform.machine()
    flags = None if torch_is_loaded() else _flags()
    if flags is None:
        vectors = torch.backends.cpu.get_cpu_capability()
    else:
        vectors = "AVX512" if flags >= _AVX512 else "AVX2" if flags >= {"avx2", "fma"} else "DEFAULT"
    return f"{name}, {vectors}{', bf16' if computes_bf16(Cpu()) else ''}"


@cache
def _said() -> Mapping[str, str]:
    """What Linux says of the first processor."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    pairs = (line.split(":", 1) for line in text.partition("\n\n")[0].splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _flags() -> frozenset[str] | None:
    """The processor's abilities by Linux's names; None where it tells none, or torch was told to use fewer."""
    told = any(os.environ.get(name) for name in _TOLD_KERNELS)
    return None if told or "flags" not in _said() else frozenset(_said()["flags"].split())


def _threads() -> int | None:
    """As many as torch would take: one a core that this process may use, or what it was told; None where that is not plain."""
    if not hasattr(os, "sched_getaffinity") or os.environ.get("MKL_DOMAIN_NUM_THREADS"):
        return None
    try:
        siblings = (f"/sys/devices/system/cpu/cpu{k}/topology/thread_siblings_list" for k in os.sched_getaffinity(0))
        cores = len({Path(place).read_text(encoding="ascii") for place in siblings})
    except OSError:
        return None
    told = next((os.environ[name] for name in _TOLD_THREADS if os.environ.get(name)), str(cores))
    return int(told) if told.isascii() and told.isdigit() and 1 <= int(told) <= cores else None
