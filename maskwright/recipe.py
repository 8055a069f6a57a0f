"""Recipe: every setting of a training run, each with its reason; YAML in and out.

The planner (training/plan.py) fills it from the data and the machine; `--set key=value` and a recipe file override it.
Once a run has started its recipe is frozen: resuming reads it back and measures nothing again.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maskwright.errors import InputError
from maskwright.transforms.augmentation import Augmentation


class Recipe(BaseModel):
    """All settings of a run. Sizes in px, durations in optimizer steps, shares in [0, 1]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # the network
    model: str = "unet"
    model_args: dict[str, Any] = Field(default_factory=dict)
    weights: str | None = None
    # what it sees
    channels: int = Field(default=3, ge=1)
    max_side_px: int | None = Field(default=None, ge=1)
    zoom: float = Field(default=1.0, gt=0, le=16)
    patch_hw: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (256, 256)
    scaling: Literal["range", "percentile", "zscore"] = "range"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    augment: dict[str, float] = Field(default_factory=dict)
    # what it is told
    losses: dict[str, float] = Field(default_factory=lambda: {"cross_entropy": 1.0, "dice": 1.0})
    loss_settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    class_weights: Literal["none", "inverse", "median"] = "none"
    # how it learns
    batch: int = Field(default=8, ge=1)
    steps: int = Field(default=1000, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    encoder_rate: float = Field(default=1.0, gt=0, description="the encoder's learning rate as a share of learning_rate")
    frozen_stages: int = Field(default=0, ge=0, description="maps of the encoder, finest first, whose layers keep their weights")
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_steps: int = Field(default=50, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    validate_every: int = Field(default=100, ge=1)
    patience: int = Field(default=0, ge=0, description="validations without a better score before stopping; 0 never stops early")
    seed: int = Field(default=0, ge=0)
    # how it is computed
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    channels_last: bool | None = None

    reasons: dict[str, str] = Field(default_factory=dict, exclude=True)

    def augmentation(self) -> Augmentation:
        """The augmentation with this recipe's changes; unknown names are an InputError that lists the known ones."""
        known = Augmentation.__dataclass_fields__
        unknown = [k for k in self.augment if k not in known]
        if unknown:
            raise InputError(f"augment.{unknown[0]} is not a setting; {_did_you_mean(unknown[0], list(known))}")
        return Augmentation(**self.augment)

    def with_settings(self, settings: Mapping[str, Any], reason: str) -> Recipe:
        """A copy with settings changed; keys may be dotted ("augment.flip_horizontal"), values YAML text or plain values.

        Raises:
            InputError: the key is unknown or the value does not fit; names the key, the value and what is allowed.
        """
        changed, reasons = self.model_dump(), dict(self.reasons)
        for key, given in settings.items():
            head, _, rest = key.partition(".")
            if head not in changed or (rest and not isinstance(changed[head], dict)):
                raise InputError(f"recipe: no setting named {key!r}; {_did_you_mean(head, list(changed))}")
            value = _parsed(key, given)
            changed[head] = {**changed[head], rest: value} if rest else value
            reasons[head] = f"{reasons[head]}; {rest}: {reason}" if rest and head in reasons else reason
        return _checked({**changed, "reasons": reasons}, "recipe")

    def to_yaml(self) -> str:
        """YAML text with the reason of each setting as a comment behind it."""
        lines = ["# Every setting of this run and why it was chosen. Train again with: maskwright train DATA --recipe THIS_FILE"]
        for key, value in self.model_dump(mode="json").items():
            text = yaml.safe_dump(value, default_flow_style=True, width=10**6).strip().removesuffix("\n...").strip()
            reason = self.reasons.get(key)
            lines.append(f"{key}: {text}" + (f"  # {' '.join(reason.split())}" if reason else ""))
        return "\n".join(lines) + "\n"

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a recipe; settings that the file leaves out keep the defaults of this class."""
        return _checked(read_settings(path), str(path))


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings that a recipe file names, unchecked, so that they can be laid over a planned recipe."""
    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such recipe; leave --recipe out to have one planned from the data.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a readable YAML recipe ({_first_line(error)}).") from error
    if not isinstance(given, dict) or not all(isinstance(k, str) for k in given):
        raise InputError(f"{path}: a recipe is a list of `setting: value` lines; found {type(given).__name__}.")
    return given


def _checked(given: Mapping[str, Any], source: str) -> Recipe:
    try:
        recipe = Recipe.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise InputError(f"{source}: no setting named {key!r}; {_did_you_mean(key, list(Recipe.model_fields))}") from None
        raise InputError(f"{source}: {key} is {first['input']!r}; {first['msg'].lower()}.") from None
    recipe.augmentation()
    return recipe


def _parsed(key: str, given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        value = yaml.safe_load(given)
    except yaml.YAMLError as error:
        raise InputError(f"recipe: {key}={given!r} is not a YAML value ({_first_line(error)}).") from error
    if isinstance(value, str):  # YAML 1.1 reads 2e-3 as text because it lacks the dot
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _did_you_mean(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known) or [k for k in known if name in k]
    return f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(sorted(k for k in known if k != 'reasons'))}."
