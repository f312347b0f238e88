"""Training ToolRAG's classifier, through transformers' Trainer: in one process, or in several under `accelerate launch`.

What it learns from is explained in notebook 04. The published classifier's recipe is not known; a reproduction needed a
weight for needed tools (recall 0.93 without, 0.99 with a weight of 60).
"""

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import PreTrainedTokenizerBase, ProgressCallback, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from tinyagent_helpers.artifacts import InputError, digest_text, make_folder
from tinyagent_helpers.examples import two_in_one
from tinyagent_helpers.models import read_manifest
from tinyagent_helpers.plans import parse_plan
from tinyagent_helpers.profiles import Profile
from tinyagent_helpers.results import hardware
from tinyagent_helpers.tool_classifier import (
    Classifier,
    ToolClassifier,
    from_eight_bits,
    in_eight_bits,
    load_encoder,
    read,
    save_classifier,
)
from tinyagent_helpers.toolrag import Embed, choose_threshold, labels_of, recalls, word_vectors
from tinyagent_helpers.tools import MAC_TOOLS, tools_hash
from tinyagent_helpers.trainer import (
    Checkpoints,
    GroupedByLength,
    Progress,
    Timed,
    is_main,
    processes,
    whole_checkpoint,
)
from tinyagent_helpers.transformers_model import device


@dataclass(frozen=True)
class Classifying:
    """How to train the classifier. `encoder`: the hub's name or a folder; nothing for the nano base. `weight`: how much more
    a needed tool counts in the loss than one that is not. `joined`, `swapped`, `dropped`: see `training_requests`."""

    rows: int
    epochs: int
    rate: float
    batch: int
    weight: float
    encoder: str = ""
    pool: str = "cls"
    joined: float = 0.3
    swapped: float = 0.5
    dropped: float = 0.1
    seed: int = 0


DEBERTA = "microsoft/deberta-v3-small"
CLASSIFYING = {
    "nano": Classifying(2_400, 1, 7e-4, 32, 5.0, pool="words"),
    "laptop": Classifying(8_000, 3, 4e-5, 32, 20.0, DEBERTA),
    "gpu": Classifying(35_000, 6, 4e-5, 128, 20.0, DEBERTA),
    "paper": Classifying(70_000, 6, 4e-5, 128, 20.0, DEBERTA),
}


SENTENCES = "sentence-transformers/all-MiniLM-L6-v2"


def embedder(profile: Profile, texts: Sequence[str]) -> Embed:
    """Texts to vectors, for tools known by their descriptions or usage: words that are counted on nano (`texts` say which
    there are), a sentence encoder on the other profiles.

    Raises:
        InputError: the encoder cannot be loaded.
    """
    if profile.name == "nano":
        return word_vectors(texts)
    encoder, tokenizer = load_encoder(SENTENCES, profile.network)
    return Classifier(ToolClassifier(encoder, 1, "cls"), tokenizer, [""]).embed


def training_requests(rows: Sequence[Mapping[str, Any]], settings: Classifying) -> list[tuple[str, frozenset[str]]]:
    """Requests and the tools they need, changed so that the classifier learns ways of asking and not what is asked about;
    each row once for every epoch, each time changed otherwise.

    Some are two requests in one (share `joined`). Names, titles and texts are exchanged for those of other requests, each
    with a chance of `swapped`: a note may be called like a person. Each word is left out with a chance of `dropped`.
    """
    rng = Random(f"requests-{settings.seed}")
    values, made = sorted({value for row in rows for value in _said(row)}), []
    for row in (row for _ in range(settings.epochs) for row in rows):
        both = two_in_one(row, rng.choice(rows), rng) if rng.random() < settings.joined else None
        asked = both or row
        request = asked["request"]
        for value in _said(asked):
            if rng.random() < settings.swapped:
                request = request.replace(value, _instead(value, rng.choice(values)))
        words = [word for word in request.split(" ") if rng.random() >= settings.dropped]
        made.append((" ".join(words) or request, frozenset(asked["tools"])))
    return made


def _said(row: Mapping[str, Any]) -> list[str]:
    """The names, titles and texts in a plan that stand in its request, too; not addresses and numbers, whose form says that
    nothing needs to be looked up."""
    arguments = [a for step in parse_plan(row["plan"]).steps for a in step.arguments]
    texts = [text for a in arguments for text in (a if isinstance(a, list) else [a]) if isinstance(text, str)]
    words = [text for text in dict.fromkeys(texts) if len(text) > 2 and not re.search(r"[@$]|\d{4}", text)]
    return [text for text in words if text in row["request"]]


def _instead(value: str, other: str) -> str:
    """Another value with this one's ending, which says what kind of file it is."""
    ending = re.search(r"\.\w{2,5}$", value)
    return re.sub(r"\.\w{2,5}$", "", other) + ending[0] if ending else other


class _ClassifierTrainer(Timed, Trainer):
    """transformers' trainer with a weighted loss, and batches of like length."""

    def __init__(self, *arguments: Any, weight: float, **options: Any):
        super().__init__(*arguments, **options)
        self._weight = weight

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Binary cross entropy of every tool, in which a needed one counts `weight` times."""
        labels = inputs.pop("labels")
        weight = torch.tensor(self._weight, device=labels.device)
        return binary_cross_entropy_with_logits(model(**inputs), labels, pos_weight=weight)

    def _get_train_sampler(self, train_dataset: Any = None) -> GroupedByLength:
        lengths = [len(request) for request, _ in self.train_dataset]
        return GroupedByLength(lengths, self.args.per_device_train_batch_size, self.args.seed)


def train_classifier(
    profile: Profile,
    rows: Sequence[Mapping[str, Any]],
    validation: Sequence[Mapping[str, Any]],
    folder: Path,
    settings: Classifying,
    report: Callable[[str], None],
    names: Sequence[str] = tuple(MAC_TOOLS),
    command: str = "",
) -> dict[str, Any]:
    """Train a classifier for the tools in `names`, calibrate it, choose its threshold on `validation`, and leave it in
    `folder`; a finished run of the same things is not done again, one that was interrupted goes on. Returns the manifest.

    Raises:
        InputError: there are no rows, the encoder cannot be loaded, or processes cannot split a batch.
    """
    if not rows or not validation:
        raise InputError("the classifier needs rows to learn from and validation rows; run tinyagent synthesize first")
    pairs = training_requests(rows, settings)
    made_of = {
        "tools": list(names),
        "tools_hash": tools_hash(),
        "settings": asdict(settings),
        "data": digest_text(repr(([(r, sorted(t)) for r, t in pairs], [row["request"] for row in validation]))),
    }
    found = read_manifest(make_folder(folder))
    if found.get("finished") and all(found.get(key) == value for key, value in made_of.items()):
        return found
    encoder, tokenizer = load_encoder(settings.encoder, profile.network)
    torch.manual_seed(settings.seed)
    model = ToolClassifier(encoder, len(names), settings.pool)
    checkpoints = folder / f"checkpoints-{digest_text(repr(made_of))}"
    trainer = _trainer(model, tokenizer, pairs, names, settings, checkpoints, report)
    trainer.train(resume_from_checkpoint=whole_checkpoint(checkpoints))
    model.load_state_dict(
        from_eight_bits(in_eight_bits(model.state_dict()))
    )  # as it is kept: what follows is chosen for that
    classifier, needed = Classifier(model, tokenizer, names), labels_of(validation, names)
    requests = [row["request"] for row in validation]
    classifier.calibrate(requests, needed)
    scores = classifier.scores(requests)
    classifier.threshold = choose_threshold(scores, needed)
    shown = scores >= classifier.threshold
    manifest = made_of | {
        "profile": profile.name,
        "command": command,
        "slope": classifier.slope,
        "offset": classifier.offset,
        "threshold": classifier.threshold,
        "validation": {"recall": float(recalls(shown, needed).mean()), "tools": float(shown.sum(axis=1).mean())},
        "seconds": trainer.seconds(),
        "hardware": hardware(),
        "finished": True,
    }
    trainer.accelerator.wait_for_everyone()
    if is_main():
        save_classifier(classifier, folder, manifest)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return manifest


def _trainer(
    model: ToolClassifier,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, frozenset[str]]],
    names: Sequence[str],
    settings: Classifying,
    folder: Path,
    report: Callable[[str], None],
) -> _ClassifierTrainer:
    def batch(chosen: Sequence[tuple[str, frozenset[str]]]) -> dict[str, torch.Tensor]:
        labels = [[float(name in tools) for name in names] for _, tools in chosen]
        return {**read(tokenizer, [request for request, _ in chosen]), "labels": torch.tensor(labels)}

    if settings.batch % processes():
        raise InputError(f"a batch of {settings.batch} cannot be split over {processes()} processes; choose a multiple")
    on_cpu = device().type == "cpu"
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch // processes(),
        num_train_epochs=1,
        learning_rate=settings.rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        weight_decay=0.01,
        save_strategy="epoch",
        save_total_limit=1,
        logging_steps=10,
        remove_unused_columns=False,
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and processes() > 1 else None,
        dataloader_pin_memory=not on_cpu,
        report_to="none",
        disable_tqdm=True,
        seed=settings.seed,
        data_seed=settings.seed,
    )
    callbacks = [Progress(report), Checkpoints()]
    parts = {"model": model, "args": arguments, "train_dataset": list(pairs), "data_collator": batch}
    trainer = _ClassifierTrainer(**parts, callbacks=callbacks, weight=settings.weight)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer
