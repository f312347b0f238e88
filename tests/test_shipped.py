"""The models in data/ belong to this template, and are what is claimed of them."""

from safetensors import safe_open

from tinyagent_helpers.artifacts import read_json
from tinyagent_helpers.models import NANO_BASE
from tinyagent_helpers.prompts import NANO_TEMPLATE


def test_the_base_was_made_for_this_template():
    manifest = read_json(NANO_BASE / "manifest.json")
    assert manifest["template"] == NANO_TEMPLATE.hash, "pre-train again, then ship"
    assert {"command", "minutes", "hardware", "tokens", "data", "settings"} <= set(manifest)


def test_only_safe_and_small_files_ship():
    files = [path for path in NANO_BASE.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert sum(path.stat().st_size for path in files) < 25e6
    with safe_open(NANO_BASE / "model.safetensors", "pt") as tensors:
        parameters = sum(tensors.get_tensor(key).numel() for key in tensors.keys())
    assert 5e6 <= parameters <= 10e6
