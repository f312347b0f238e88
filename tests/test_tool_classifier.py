"""The classifier: its two ways to pool, training, calibration, and what is refused."""

import json
from random import Random

import numpy as np
import pytest
import torch
from transformers import DebertaV2Config, DebertaV2Model, LlamaModel

from tinyagent_helpers import quick_classifier
from tinyagent_helpers import tool_classifier as module
from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.models import NANO_BASE
from tinyagent_helpers.profiles import PROFILES
from tinyagent_helpers.quick_classifier import load_retriever
from tinyagent_helpers.tool_classifier import Classifier, ToolClassifier, load_classifier, load_encoder
from tinyagent_helpers.toolrag import labels_of
from tinyagent_helpers.toolrag_training import Classifying, train_classifier, training_requests
from tinyagent_helpers.tools import MAC_TOOLS

NAMES = ["send_sms", "open_note", "maps_open_location"]
SETTINGS = Classifying(96, 2, 1e-3, 16, 2.0, pool="words", joined=0.3, swapped=0.5, dropped=0.1)


def rows(count, seed):
    rng, made = Random(seed), []
    ways = (("Text {} hello", 'send_sms(["{}"], "hello")'), ("Open the note {}", 'open_note("{}", "")'), ("Where is {}?", 'maps_open_location("{}")'))  # fmt: skip
    for number in range(count):
        request, call = rng.choice(ways)
        value = rng.choice(["Sid", "Ada Novak", "Oslo harbour", "lease", "tax.pdf"])
        tool = call.partition("(")[0]
        made.append({"id": str(number), "request": request.format(value), "now": "2024-05-24 09:00:00", "plan": f"1. {call.format(value)}\n2. join()", "tools": [tool]})  # fmt: skip
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retriever")
    said = []
    train_classifier(PROFILES["nano"], rows(96, 0), rows(40, 1), folder, SETTINGS, said.append, NAMES, command="x")
    return folder, said


def test_one_loud_word_is_enough_and_cls_reads_the_first_token(tiny):
    model, tokenizer = tiny
    ids = tokenizer(["Text Sid", "Open the note of yesterday"], padding=True, padding_side="right", return_tensors="pt")
    words = ToolClassifier(model.model, 3, "words").eval()
    with torch.no_grad():
        token_logits = words.head(words.encoder(**ids).last_hidden_state)
        logits = words(**ids)
        first = ToolClassifier(model.model, 3, "cls").eval()
        assert torch.equal(first(**ids), first.head(first.encoder(**ids).last_hidden_state)[:, 0])
    length = int(ids["attention_mask"][0].sum())
    assert torch.allclose(logits[0], token_logits[0, :length].logsumexp(0)), "padding says nothing"
    assert (logits[0] >= token_logits[0, :length].max(0).values).all()


def test_it_learns_is_calibrated_saved_and_read_again(trained):
    folder, said = trained
    classifier, validation = load_classifier(folder), rows(40, 1)
    needed = labels_of(validation, NAMES)
    scores = classifier.scores([row["request"] for row in validation])
    assert (scores[needed] >= classifier.threshold).mean() > 0.95 and scores[~needed].mean() < 0.2
    assert abs(scores.mean() - needed.mean()) < 0.03, "on the requests it is calibrated on, as often as it says"
    assert classifier.embed(["Text Sid", "x"]).shape == (2, classifier.model.encoder.config.hidden_size)
    assert [list(found) for found in load_retriever(folder).retrieve(["Open the note lease"])] == [["open_note"]]
    assert any("min left" in line for line in said)


def test_a_finished_run_is_not_done_again_and_other_data_is(trained):
    folder, _ = trained
    before = (folder / "manifest.json").read_text()
    said = []
    train_classifier(PROFILES["nano"], rows(96, 0), rows(40, 1), folder, SETTINGS, said.append, NAMES, command="x")
    assert not said and (folder / "manifest.json").read_text() == before
    assert not list(folder.glob("checkpoints-*"))


def test_only_safetensors_and_json_are_written(trained):
    assert {path.suffix for path in trained[0].iterdir()} == {".json", ".safetensors"}


def test_what_cannot_be_used_is_refused(trained, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="there is no finished retriever"):
        load_classifier(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in trained[0].iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(InputError, match="cannot be read"):
        load_classifier(broken)
    monkeypatch.setattr(quick_classifier, "tools_hash", lambda: "other")
    with pytest.raises(InputError, match="described otherwise"):
        load_classifier(trained[0])
    with pytest.raises(InputError, match="run tinyagent synthesize"):
        train_classifier(PROFILES["nano"], [], [], tmp_path / "x", SETTINGS, print, NAMES)
    with pytest.raises(InputError, match="cannot be loaded"):
        load_encoder("microsoft/deberta-v3-small")


def test_eight_bits_keep_weights_to_half_a_scale():
    torch.manual_seed(0)
    rows = torch.randn(5, 40) * torch.tensor([[1e-3], [1.0], [50.0], [0.2], [0.0]])
    kept = module.in_eight_bits({"matrix": rows, "vector": rows[1]})
    assert kept["matrix"].dtype == torch.int8 and kept["matrix.scale"].shape == (5, 1)
    back = module.from_eight_bits(kept)
    assert back.keys() == {"matrix", "vector"} and torch.equal(back["vector"], rows[1])
    assert ((back["matrix"] - rows).abs() <= kept["matrix.scale"] * 0.501).all()
    again = module.from_eight_bits(module.in_eight_bits(back))
    assert torch.allclose(again["matrix"], back["matrix"], rtol=1e-5), "what was kept once is kept as it is"


def test_a_save_that_is_interrupted_leaves_nothing_that_would_be_loaded(trained, tmp_path, monkeypatch):
    classifier, manifest = load_classifier(trained[0]), json.loads((trained[0] / "manifest.json").read_text())
    module.save_classifier(classifier, tmp_path, manifest)
    assert load_classifier(tmp_path).threshold == classifier.threshold
    monkeypatch.setattr(module, "save_file", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        module.save_classifier(classifier, tmp_path, manifest)
    with pytest.raises(InputError, match="there is no finished retriever"):
        load_classifier(tmp_path)


def test_requests_are_changed_but_not_what_they_need():
    made = rows(96, 0)
    changed = training_requests(made, SETTINGS)
    assert changed == training_requests(made, SETTINGS) and len(changed) == SETTINGS.epochs * len(made)
    assert changed[: len(made)] != changed[len(made) :], "each epoch is changed otherwise"
    joined = [tools for _, tools in changed if len(tools) == 2]
    assert 5 < len(joined) and all(tools <= set(NAMES) for _, tools in changed)
    same = training_requests(made, Classifying(96, 1, 1e-3, 16, 2.0, joined=0, swapped=0, dropped=0))
    assert same == [(row["request"], frozenset(row["tools"])) for row in made]
    swapped = training_requests(made, Classifying(96, 1, 1e-3, 16, 2.0, joined=0, swapped=1, dropped=0))
    endings = [(a["request"], b[0]) for a, b in zip(made, swapped) if ".pdf" in a["request"]]
    assert len(endings) > 5 and all(".pdf" in b for _, b in endings), "an ending says what a file is"
    assert sum(a != b for a, b in zip(same, swapped)) > len(made) / 2
    given = made[0] | {
        "request": "Text +1 403 555 4264 hello",
        "plan": '1. send_sms(["+1 403 555 4264"], "hello")\n2. join()',
    }
    [(request, _)] = training_requests([given], Classifying(96, 1, 1e-3, 16, 2.0, joined=0, swapped=1, dropped=0))
    assert "+1 403 555 4264" in request, "a number that is given need not be looked up"


def test_deberta_takes_the_same_way(tiny, tmp_path):
    _, tokenizer = tiny
    config = DebertaV2Config(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        pad_token_id=tokenizer.pad_token_id, type_vocab_size=0, relative_attention=True, pos_att_type=["p2c", "c2p"],
    )  # fmt: skip
    torch.manual_seed(0)
    DebertaV2Model(config).save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    settings = Classifying(96, 1, 1e-3, 16, 2.0, str(tmp_path / "encoder"), pool="cls")
    manifest = train_classifier(PROFILES["nano"], rows(96, 0), rows(40, 1), tmp_path / "out", settings, print, NAMES)
    again = load_classifier(tmp_path / "out")
    assert type(again.model.encoder) is DebertaV2Model and manifest["settings"]["pool"] == "cls"
    assert np.isfinite(again.scores(["Text Sid"])).all()


def test_the_nano_encoder_is_the_nano_base():
    encoder, _ = load_encoder()
    assert type(encoder) is LlamaModel and json.loads((NANO_BASE / "config.json").read_text())["hidden_size"] == encoder.config.hidden_size  # fmt: skip
    assert Classifier(ToolClassifier(encoder, 16, "words"), None, MAC_TOOLS).names == list(MAC_TOOLS)
