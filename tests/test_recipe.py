"""Recipe: settings over settings, YAML in and out, and sentences for what does not fit."""

from __future__ import annotations

import pytest
import yaml

from maskwright.errors import InputError
from maskwright.recipe import Recipe, read_settings


def test_yaml_holds_every_setting_with_its_reason_and_reads_back_equal(tmp_path):
    recipe = Recipe(patch_hw=(96, 128), mean=(0.25,), reasons={"batch": "fits\nthe memory"}).with_settings(
        {"learning_rate": "3e-4"}, "given"
    )
    text = recipe.to_yaml()
    assert "batch: 8  # fits the memory" in text
    assert "learning_rate: 0.0003  # given" in text
    assert set(yaml.safe_load(text)) == set(Recipe.model_fields) - {"reasons"}
    (tmp_path / "r.yaml").write_text(text)
    assert Recipe.load(tmp_path / "r.yaml").model_dump() == recipe.model_dump()


def test_dotted_keys_change_one_entry_and_keep_the_others():
    recipe = Recipe(augment={"noise": 0.2}).with_settings({"augment.flip_horizontal": "0.5", "model_args.width": "24"}, "given")
    assert recipe.augment == {"noise": 0.2, "flip_horizontal": 0.5}
    assert recipe.model_args == {"width": 24}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learnin_rate": "1"}, r"no setting named 'learnin_rate'; did you mean learning_rate"),
        ({"batch": "0"}, r"batch is 0; input should be greater than or equal to 1"),
        ({"batch": "many"}, r"batch is 'many'; input should be a valid integer"),
        ({"augment.flip": "0.5"}, r"augment\.flip is not a setting; did you mean flip_"),
        ({"augment.noise": "-1"}, r"augment\.noise is -1.0; expected a number from 0"),
        ({"steps.more": "1"}, r"no setting named 'steps.more'"),
        ({"losses": "{"}, r"is not a YAML value"),
    ],
)
def test_what_does_not_fit_is_named(settings, message):
    with pytest.raises(InputError, match=message):
        Recipe().with_settings(settings, "given")


def test_recipe_files_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="no such recipe"):
        read_settings(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(InputError, match="found list"):
        read_settings(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(InputError, match="not a readable YAML recipe"):
        read_settings(tmp_path / "broken.yaml")
