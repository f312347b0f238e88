"""The retriever without torch says what the one with torch says."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from tinyagent_helpers.artifacts import DATA, InputError, read_jsonl
from tinyagent_helpers.quick_classifier import NANO_RETRIEVER, QuickClassifier, load_retriever
from tinyagent_helpers.tool_classifier import Classifier, ToolClassifier, load_classifier, save_classifier
from tinyagent_helpers.tools import MAC_TOOLS, tools_hash

REQUESTS = ["Text Sid", "E-mail 지훈 “naïve” résumé.pdf at 5:30 🙂", "", "word " * 400]


@pytest.fixture(params=["words", "cls"])
def folder(request, tmp_path):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30_522, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48
    )
    model = ToolClassifier(BertModel(config), len(MAC_TOOLS), request.param)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # so that biases and norms are there to be forgotten
    classifier = Classifier(model, AutoTokenizer.from_pretrained(NANO_RETRIEVER), list(MAC_TOOLS))
    made = {"finished": True, "tools": list(MAC_TOOLS), "tools_hash": tools_hash(), "settings": {"pool": request.param}}
    save_classifier(classifier, tmp_path, made | {"slope": 1.0, "offset": 0.0, "threshold": 0.5})
    return tmp_path


def test_it_says_what_torch_says(folder):
    wanted, found = load_classifier(folder), load_retriever(folder).scorer
    assert isinstance(found, QuickClassifier)
    assert np.abs(found.logits(REQUESTS) - wanted.logits(REQUESTS)).max() < 0.03 < np.ptp(wanted.logits(REQUESTS))
    assert np.allclose(found.scores(REQUESTS), wanted.scores(REQUESTS), atol=0.01)


def test_the_one_that_ships_chooses_alike():
    requests = [row["request"] for row in read_jsonl(DATA / "handwritten" / "dev.jsonl")]
    quick, slow = load_retriever().scorer, load_classifier()
    differ = (quick.scores(requests) >= quick.threshold) != (slow.scores(requests) >= slow.threshold)
    assert differ.sum() <= 1 and quick.threshold == slow.threshold


def test_a_broken_one_is_named(folder):
    (folder / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(InputError, match="cannot be read"):
        load_retriever(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="there is no finished retriever"):
        load_retriever(folder)
