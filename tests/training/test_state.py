"""State files: whole or not there, checked before anything is put back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskwright.errors import CheckpointError, InputError
from maskwright.training.ema import Ema
from maskwright.training.state import Progress, load_state, save_state


def parts(width: int = 4):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW([{"params": list(net.parameters()), "weight_decay": 0.1}], lr=0.1, fused=True)
    net(torch.rand(2, 1, 5, 5)).sum().backward()
    optimizer.step()
    return {"net": net, "average": Ema(net, 0.9).net, "optimizer": optimizer}


def test_everything_comes_back_in_the_same_layout(tmp_path):
    saved, path = parts(), tmp_path / "state" / "last.safetensors"
    random = torch.get_rng_state()
    save_state(path, **saved, progress=Progress(7, 1.5, 0.8, 6, 1, 99), data_hash="h")
    torch.rand(3)
    fresh = parts()
    fresh["optimizer"].param_groups[0]["lr"] = 99.0
    progress = load_state(path, **fresh, data_hash="h")
    assert progress == Progress(7, 1.5, 0.8, 6, 1, 99)
    assert torch.equal(torch.get_rng_state(), random)
    assert fresh["optimizer"].param_groups[0]["lr"] == 0.1
    for a, b in zip(saved["net"].parameters(), fresh["net"].parameters(), strict=True):
        assert torch.equal(a, b)
        for key, value in saved["optimizer"].state[a].items():
            other = fresh["optimizer"].state[b][key]
            assert torch.equal(value, other)
            assert value.stride() == other.stride()


def test_states_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "state" / "last.safetensors"
    with pytest.raises(CheckpointError, match="nothing to resume"):
        load_state(path, **parts(), data_hash="h")
    save_state(path, **parts(), progress=Progress(), data_hash="h")
    with pytest.raises(CheckpointError, match="the data has changed since"):
        load_state(path, **parts(), data_hash="other")
    with pytest.raises(CheckpointError, match="belongs to another network"):
        load_state(path, **parts(5), data_hash="h")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="the saved state is damaged"):
        load_state(path, **parts(), data_hash="h")


def test_a_full_disk_leaves_the_state_before(tmp_path, monkeypatch):
    path = tmp_path / "state" / "last.safetensors"
    save_state(path, **parts(), progress=Progress(step=3), data_hash="h")

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("maskwright.training.state.save_file", full)
    with pytest.raises(InputError, match=r"the disk is full .*kept as it was"):
        save_state(path, **parts(), progress=Progress(step=4), data_hash="h")
    assert load_state(path, **parts(), data_hash="h").step == 3
    assert [p.name for p in path.parent.iterdir()] == ["last.safetensors"]


def test_average_forgets_its_start_and_copies_counters():
    net = nn.Sequential(nn.BatchNorm1d(1, affine=False))
    net[0].running_mean.fill_(0.0)
    average = Ema(net, decay=0.9)
    net[0].running_mean.fill_(10.0)
    net[0].num_batches_tracked.fill_(5)
    average.update(net, updates=0)  # decay min(0.9, 1/10): 0.1 * 0 + 0.9 * 10
    assert float(average.net[0].running_mean) == pytest.approx(9.0)
    assert int(average.net[0].num_batches_tracked) == 5
    average.update(net, updates=1000)  # decay 0.9: 0.9 * 9 + 0.1 * 10
    assert float(average.net[0].running_mean) == pytest.approx(9.1)
