"""The nano base: a Llama of a few million parameters, trained from scratch on `curriculum`.

Everything about a run follows from its settings and seed; a run that was interrupted goes on from its last checkpoint.
Weights and optimizer state are safetensors. Sizes and rates are those that did best in short trials at this scale (Muon on
the hidden matrices, a short rise and a straight fall). A run may go on from the weights of an earlier one, see `pretrain`.
"""

import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from tinyagent_helpers import curriculum, function_lessons
from tinyagent_helpers.apis import APIS
from tinyagent_helpers.artifacts import InputError, digest, make_folder, read_json, write_json
from tinyagent_helpers.curriculum import COPYING_FIRST, Lesson
from tinyagent_helpers.functions import FUNCTIONS
from tinyagent_helpers.models import read_manifest
from tinyagent_helpers.muon import Muon
from tinyagent_helpers.plans import END_OF_PLAN, PlanError, parse_plan
from tinyagent_helpers.prompts import NANO_TEMPLATE, SEPARATOR
from tinyagent_helpers.results import hardware
from tinyagent_helpers.scoring import success
from tinyagent_helpers.teacher import VALUES
from tinyagent_helpers.transformers_model import UNSEEN, TransformersModel, computes_bf16, device

disable_progress_bar()  # progress is one line of text, see `pretrain`
PAD = "<pad>"
LLAMA3_SPLIT = (  # Llama 3's pre-tokenizer, which llama.cpp knows, with digits one by one
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


LESSONS = {"apis": curriculum, "functions": function_lessons}


@dataclass(frozen=True)
class Settings:
    """A run. `warmup` and `decay` are shares of the steps; learning rates are those of Muon (matrices) and AdamW (the rest).

    `gap` positions at most are skipped between a sheet's tools and its requests, so that a model that reads short rows also
    learns long distances (PoSE; Zhu et al., 2023). `weight_decay` is the matrices': Muon's steps all have the same size, and
    with a decay of 0.01 queries and keys grew until nearly every head looked at one token only and learned no more.
    """

    layers: int = 6
    heads: int = 4
    width: int = 256
    vocabulary: int = 4096
    texts: int = 12_000  # prompts the tokenizer is trained on
    context: int = 2048
    rope_theta: float = 1e6
    row: int = 768
    batch: int = 8
    steps: int = 4_800
    muon_rate: float = 0.02
    adam_rate: float = 3e-3
    weight_decay: float = 0.3
    warmup: float = 0.02
    decay: float = 1.0
    gap: int = 320
    seed: int = 0
    lessons: str = "apis"

    def sheets(self, start: int, held_out: bool = False) -> Iterator[list[Lesson]]:
        """What is read, from sheet number `start` on: requests for made-up APIs, or for made-up functions."""
        return LESSONS[self.lessons].sheets(self.seed, start, held_out)


def train_tokenizer(vocabulary: int, seed: int, texts: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of the curriculum's own text, digits apart, with the end of a plan as its last token."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END_OF_PLAN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = (
        lesson.prompt + lesson.plan
        for sheet in islice(curriculum.sheets(seed, COPYING_FIRST), texts)
        for lesson in sheet[:1]
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END_OF_PLAN)


def new_model(settings: Settings, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained Llama of these sizes, the same for the same seed."""
    torch.manual_seed(settings.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=settings.vocabulary,
            hidden_size=settings.width,
            intermediate_size=3 * settings.width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=settings.context,
            rope_parameters={"rope_type": "default", "rope_theta": settings.rope_theta},
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


@dataclass
class Row:
    """Up to `Settings.row` positions, filled with sheets.

    A sheet's tools are read once, and each of its requests as if it alone followed them: `positions` count on from the
    tools, and `request` (0 for the tools) with `sheet` says what a position may look at. Only plans are learned: other
    `labels` are UNSEEN.
    """

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    sheet: list[int] = field(default_factory=list)
    request: list[int] = field(default_factory=list)

    def add(self, ids: Sequence[int], labels: Sequence[int], first: int, sheet: int, request: int) -> None:
        """Put a piece at the end, its positions counted from `first`."""
        self.ids += ids
        self.labels += labels
        self.positions += range(first, first + len(ids))
        self.sheet += [sheet] * len(ids)
        self.request += [request] * len(ids)

    def padded(self, length: int, pad: int) -> "Row":
        """The row, filled up."""
        missing = length - len(self.ids)
        self.add([pad] * missing, [UNSEEN] * missing, 0, -1, 0)
        return self


def rows(
    settings: Settings, tokenizer: PreTrainedTokenizerFast, start: int, held_out: bool = False
) -> Iterator[tuple[Row, int]]:
    """Full rows, and the number of the sheet that the next one begins with.

    A sheet goes where its tools and two of its requests still fit; requests that do not fit are left out.
    """
    row = Row()
    for number, sheet in enumerate(settings.sheets(start, held_out), start):
        tools, pieces = _pieces(sheet, tokenizer)
        needed = len(tools) + sum(len(prompt) + len(plan) for prompt, plan in pieces[:2])
        if needed > settings.row:
            continue
        if len(row.ids) + needed > settings.row:
            yield row.padded(settings.row, tokenizer.pad_token_id), number
            row = Row()
        row.add(tools, [UNSEEN] * len(tools), 0, number, 0)
        first = len(tools) + Random(number).randrange(settings.gap + 1)
        for request, (prompt, plan) in enumerate(pieces, 1):
            if len(row.ids) + len(prompt) + len(plan) <= settings.row:
                row.add(prompt + plan, [UNSEEN] * len(prompt) + plan, first, number, request)


def _pieces(
    sheet: Sequence[Lesson], tokenizer: PreTrainedTokenizerFast
) -> tuple[list[int], list[tuple[list[int], list[int]]]]:
    """The token ids of what a sheet's prompts have in common, and of the rest of each prompt and its plan."""
    tools = sheet[0].prompt.partition(SEPARATOR)[0]
    texts = [text for lesson in sheet for text in (lesson.prompt.removeprefix(tools), lesson.plan)]
    first, *others = tokenizer([tools, *texts])["input_ids"]
    return first, list(zip(others[::2], others[1::2], strict=True))


def tensors_of(batch: Sequence[Row]) -> tuple[torch.Tensor, ...]:
    """Ids, labels and positions of shape (rows, length), and what may look at what: (rows, 1, length, length), bool."""
    ids, labels, positions, sheet, request = (
        torch.tensor([getattr(row, name) for row in batch])
        for name in ("ids", "labels", "positions", "sheet", "request")
    )
    same_sheet = sheet[:, :, None] == sheet[:, None, :]
    visible = (request[:, None, :] == 0) | (request[:, :, None] == request[:, None, :])
    return ids, labels, positions, (same_sheet & visible).tril()[:, None]


def pretrain(
    settings: Settings,
    folder: Path,
    report: Callable[[str], None],
    save_every: int = 200,
    base: Path | None = None,
) -> dict[str, float]:
    """Train, or go on training, the model in `folder`; return the last loss, and the seconds that all of it has taken.

    With a `base`, a folder that `export` wrote, training starts from its tokenizer and weights, and with all kinds of sheets.

    Raises:
        InputError: the folder holds a run with other settings or other data, or the base has another shape.
    """
    tokenizer = _claim(make_folder(folder), settings, base)
    model = new_model(settings, tokenizer).to(device())
    if base:
        _start_from(model, base)
    optimizers = new_optimizers(model, settings)
    state = _resume(folder, model, optimizers, COPYING_FIRST if base else 0)
    data, started, first = rows(settings, tokenizer, state["sheet"]), time.monotonic(), state["step"]
    model.train()
    for step in range(first, settings.steps):
        batch = list(islice(data, settings.batch))
        loss = take_step(model, optimizers, [row for row, _ in batch], rate(step, settings))
        elapsed = time.monotonic() - started
        if (step + 1) % 20 == 0:
            left = elapsed / (step + 1 - first) * (settings.steps - step - 1)
            report(f"step {step + 1:,} of {settings.steps:,}, loss {loss:.3f}, {left / 60:.0f} min left")
        if (step + 1) % save_every == 0 or step + 1 == settings.steps:
            state = {"step": step + 1, "sheet": batch[-1][1], "loss": loss, "seconds": state["seconds"] + elapsed}
            started, first = time.monotonic(), step + 1
            _save(folder, model, optimizers, state)
    return {"loss": state["loss"], "seconds": state["seconds"]}


def rate(step: int, settings: Settings) -> float:
    """The share of the learning rate at a step: a short rise, a plateau if `decay` leaves one, a straight fall to nothing."""
    rise = (step + 1) / max(1, settings.warmup * settings.steps)
    fall = (settings.steps - step) / max(1, settings.decay * settings.steps)
    return min(1.0, rise, fall)


def new_optimizers(model: LlamaForCausalLM, settings: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for embeddings and norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    muon = Muon(matrices, lr=settings.muon_rate, weight_decay=settings.weight_decay, adjust_lr_fn="original")
    return [muon, torch.optim.AdamW(others, lr=settings.adam_rate, betas=(0.9, 0.95), weight_decay=0.0)]


def _loss(model: LlamaForCausalLM, batch: Sequence[Row]) -> torch.Tensor:
    """Cross entropy over the tokens of plans; logits are computed for these alone."""
    ids, labels, positions, mask = (tensor.to(model.device) for tensor in tensors_of(batch))
    learned = labels[:, 1:] != UNSEEN
    with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=computes_bf16()):
        hidden = model.model(input_ids=ids, attention_mask=mask, position_ids=positions).last_hidden_state
        logits = model.lm_head(hidden[:, :-1][learned])
    return cross_entropy(logits.float(), labels[:, 1:][learned])


def take_step(
    model: LlamaForCausalLM, optimizers: Sequence[torch.optim.Optimizer], batch: Sequence[Row], share: float
) -> float:
    """One step on a batch of rows with this share of the learning rates; return the loss."""
    loss = _loss(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("full_lr", group["lr"]) * share
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


def _start_from(model: LlamaForCausalLM, base: Path) -> None:
    """Take over the weights of a model that has been exported.

    Raises:
        InputError: there is none, or it has another shape.
    """
    try:
        model.load_state_dict(LlamaForCausalLM.from_pretrained(base, dtype=torch.float32).state_dict())
    except (OSError, RuntimeError) as error:
        raise InputError(f"training cannot start from {base}: {str(error).splitlines()[0]}") from None


def _exported(base: Path) -> dict:
    """How an exported model was made.

    Raises:
        InputError: there is none.
    """
    if not (made := read_manifest(base)):
        raise InputError(
            f"{base} holds no exported model; give the folder DIR/model of tinyagent pretrain --output DIR"
        )
    return made


def _claim(folder: Path, settings: Settings, base: Path | None) -> PreTrainedTokenizerFast:
    """Note what the run is made of, or see that it is the same one; return its tokenizer."""
    data = digest({"apis": APIS, "functions": FUNCTIONS}[settings.lessons], VALUES)
    source = {"settings": asdict(settings), "data": data, "template": NANO_TEMPLATE.hash}
    source["base"] = _exported(base) if base else None
    path = folder / "run.json"
    if path.exists():
        if different := [key for key, value in source.items() if read_json(path).get(key) != value]:
            raise InputError(
                f"{folder} holds a run with other {', '.join(different)}; choose another folder, or delete it"
            )
        return PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer = (
        PreTrainedTokenizerFast.from_pretrained(base)
        if base
        else train_tokenizer(settings.vocabulary, settings.seed, settings.texts)
    )
    tokenizer.save_pretrained(folder)
    write_json(path, source)
    return tokenizer


def _save(folder: Path, model: LlamaForCausalLM, optimizers: Sequence[torch.optim.Optimizer], state: dict) -> None:
    """Write a checkpoint beside the last one, then let the small file `state.json` point to it."""
    name = f"checkpoint-{state['step']}"
    model.save_pretrained(folder / name)
    save_file(_tensors(optimizers), folder / name / "optimizers.safetensors")
    write_json(folder / "state.json", state | {"checkpoint": name})
    for old in folder.glob("checkpoint-*"):
        if old.name != name:
            shutil.rmtree(old)


def _resume(
    folder: Path, model: LlamaForCausalLM, optimizers: Sequence[torch.optim.Optimizer], first_sheet: int
) -> dict:
    """Load the last checkpoint, if there is one; return where it was, or else the start."""
    if not (folder / "state.json").exists():
        return {"step": 0, "sheet": first_sheet, "loss": math.nan, "seconds": 0.0}
    state = read_json(folder / "state.json")
    saved = LlamaForCausalLM.from_pretrained(folder / state["checkpoint"])
    model.load_state_dict(saved.state_dict())
    tensors = load_file(folder / state["checkpoint"] / "optimizers.safetensors")
    for number, optimizer in enumerate(optimizers):
        moments = {}
        for key, tensor in tensors.items():
            which, index, name = key.split(".")
            if int(which) == number:
                moments.setdefault(int(index), {})[name] = tensor
        optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
    return state


def _tensors(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    """The optimizers' moments under names such as 0.12.momentum_buffer."""
    return {
        f"{number}.{index}.{name}": tensor.contiguous()
        for number, optimizer in enumerate(optimizers)
        for index, moments in optimizer.state_dict()["state"].items()
        for name, tensor in moments.items()
    }


def load_checkpoint(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """The model of a run at its last checkpoint, and its tokenizer.

    Raises:
        InputError: there is no checkpoint.
    """
    if not (folder / "state.json").exists():
        raise InputError(f"{folder} holds no trained model; run tinyagent pretrain --output {folder} first")
    checkpoint = folder / read_json(folder / "state.json")["checkpoint"]
    return LlamaForCausalLM.from_pretrained(checkpoint), PreTrainedTokenizerFast.from_pretrained(folder)


def export(folder: Path, target: Path, command: str, measured: dict[str, float]) -> None:
    """Write the model of a run as it ships: weights in bfloat16, tokenizer, and a manifest that says how it was made."""
    model, tokenizer = load_checkpoint(folder)
    run, state = read_json(folder / "run.json"), read_json(folder / "state.json")
    settings = run["settings"]
    model.to(torch.bfloat16).save_pretrained(make_folder(target))
    tokenizer.save_pretrained(target)
    before = run["base"] or {"tokens": 0, "minutes": 0}
    tokens = before["tokens"] + state["step"] * settings["batch"] * settings["row"]
    minutes = before["minutes"] + round(state["seconds"] / 60)
    size = {"parameters": model.num_parameters(), "tokens": tokens}
    made = {"command": command, "minutes": minutes, "hardware": hardware(), "loss": state["loss"]}
    write_json(target / "manifest.json", run | size | made | measured)


@torch.no_grad()
def evaluate(folder: Path, count: int, seed: int) -> dict[str, float]:
    """On `count` sheets of held-out domains: the loss, and of greedy plans for one request each the share right word for
    word and the success rate."""
    model, tokenizer = load_checkpoint(folder)
    model.to(device()).eval()
    settings = Settings(**read_json(folder / "run.json")["settings"] | {"seed": seed})
    losses = [_loss(model, [row]).item() for row, _ in islice(rows(settings, tokenizer, 0, held_out=True), count)]
    lessons = [sheet[0] for sheet in islice(settings.sheets(0, held_out=True), count)]
    texts = TransformersModel(model, tokenizer, name="base").complete([lesson.prompt for lesson in lessons])
    made = [(text, lesson.plan) for text, lesson in zip(texts, lessons, strict=True)]
    exact = sum(text == plan for text, plan in made)
    right = sum(_same_graph(*("".join(NANO_TEMPLATE.read([plan])) for plan in both)) for both in made)
    return {"held_out_loss": sum(losses) / len(losses), "exact": exact / count, "success": right / count}


def _same_graph(text: str, gold: str) -> bool:
    try:
        return success(parse_plan(text, tools=None), parse_plan(gold, tools=None))
    except PlanError:
        return False
