"""Fine-tuning a planner: LoRA, or all weights, through trl and peft.

The same code runs in one process or, under `accelerate launch`, in several. A run that was interrupted goes on from its
last checkpoint; the best checkpoint, by success of generated plans on validation requests, is what is kept.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from peft import LoraConfig, prepare_model_for_kbit_training, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProgressCallback
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig

from tinyagent_helpers.artifacts import InputError, digest, digest_text, make_folder, read_json, read_jsonl, write_json
from tinyagent_helpers.examples import ALL_TOOLS, Pair, training_pairs
from tinyagent_helpers.models import CHAT_OPTIONS, NANO_BASE, read_manifest
from tinyagent_helpers.muon import Muon
from tinyagent_helpers.planner import write_plans
from tinyagent_helpers.profiles import Profile
from tinyagent_helpers.prompts import ExampleIndex, PromptTemplate, template_of
from tinyagent_helpers.results import hardware
from tinyagent_helpers.scoring import score
from tinyagent_helpers.simulated import train_with_four_bits
from tinyagent_helpers.tools import MAC_TOOLS, Tool, tools_hash
from tinyagent_helpers.trainer import (
    Checkpoints,
    Measured,
    PlannerTrainer,
    Progress,
    is_main,
    per_process,
    processes,
    whole_checkpoint,
)
from tinyagent_helpers.transformers_model import TransformersModel, computes_bf16, load_base

disable_progress_bar()


@dataclass(frozen=True)
class FineTuning:
    """How to fine-tune. `rate` is the highest learning rate; `batch` the examples a step, over all processes.

    `rank` and `alpha` size the adapter that every linear layer gets; rank 0 trains all weights instead. `negatives` is how
    many tools that are not needed a prompt shows at most where it does not show all; with 0 none ever does; `all_tools` is
    how often it shows all. `simulate` computes as if weights had four bits already (see `simulated`), `four_bits` loads the base in NF4, `checkpointing` trades time for memory, `bf16` computes in 16
    bits where the machine does that; `validation` is how many requests the planner is measured on after each epoch. `muon` takes its steps with Muon
    instead of AdamW, which needs matrices only, as an adapter has.
    """

    rows: int
    epochs: float
    rate: float
    batch: int
    rank: int
    alpha: int
    negatives: int
    all_tools: float = ALL_TOOLS
    micro_batch: int = 16
    muon: bool = False
    weight_decay: float = 0.0
    simulate: bool = False
    four_bits: bool = False
    checkpointing: bool = False
    bf16: bool = True
    validation: int = 100
    seed: int = 0


SETTINGS = {
    "nano": FineTuning(
        800,
        1,
        0.014,
        8,
        rank=64,
        alpha=64,
        negatives=4,
        micro_batch=8,
        muon=True,
        weight_decay=0.3,
        validation=24,
    ),
    "laptop": FineTuning(8_000, 2, 2e-4, 32, rank=16, alpha=32, negatives=6, micro_batch=4, checkpointing=True),
    "gpu": FineTuning(
        35_000,
        3,
        7e-5,
        32,
        rank=32,
        alpha=64,
        negatives=6,
        micro_batch=4,
        checkpointing=True,
        four_bits=True,
    ),
    "paper": FineTuning(70_000, 3, 7e-5, 64, rank=64, alpha=128, negatives=6, micro_batch=8, checkpointing=True),
}


def without_adapter(settings: FineTuning) -> FineTuning:
    """The same run on all weights, whose vectors Muon cannot train, so with AdamW and a rate that suits it."""
    return replace(
        settings, rank=0, alpha=0, four_bits=False, muon=False, weight_decay=0.0, rate=min(settings.rate, 1e-3)
    )


def train_planner(
    profile: Profile,
    data: Path,
    folder: Path,
    changes: Mapping[str, Any],
    report: Callable[[str], None],
    base: str | Path = "",
    examples: int | None = None,
    full: bool = False,
    start: str | Path = "",
    command: str = "",
) -> dict[str, Any]:
    """Fine-tune a profile's base, with its settings but for `changes`, on what `synthesize` left in `data`.

    `examples`: how many in-context examples a prompt shows, if not as many as is usual for the profile. `full`: all weights
    instead of an adapter. `start`: an adapter to go on from. `command` is kept in the manifest.

    Raises:
        InputError: there are no examples, or what `fine_tune` raises.
    """
    usual = without_adapter(SETTINGS[profile.name]) if full else SETTINGS[profile.name]
    settings, template = replace(usual, **changes), template_of(profile, examples)
    rows = list(islice(read_jsonl(data / "train.jsonl", ("id", "request", "now", "plan", "join")), settings.rows))
    if not rows:
        raise InputError(f"{data / 'train.jsonl'} is empty; run tinyagent synthesize first")
    validation = list(
        islice(read_jsonl(data / "validation.jsonl", ("id", "request", "now", "plan")), settings.validation)
    )
    index = ExampleIndex(rows) if template.examples else None
    pairs = training_pairs(rows, template, settings.seed, settings.negatives, index, all_tools=settings.all_tools)
    model, tokenizer = load_base(profile, base, settings.four_bits)
    if not settings.rank:
        model = model.float()  # in 16 bits a small step on a weight would be lost
    source = provenance(profile, base) | {"command": command}
    parts = (model, tokenizer), pairs, validation, template, settings, folder, source, report, index
    return fine_tune(*parts, start=Path(start) if start else None)


def provenance(profile: Profile, base: str | Path = "") -> dict[str, str]:
    """What a fine-tuned model is made of, for its manifest: the base, the digest of its weights, and that of the tools."""
    weights = Path(base or NANO_BASE) / "model.safetensors"
    has_file = weights.exists() and (base or profile.name == "nano")
    return {
        "profile": profile.name,
        "base": str(Path(base).resolve()) if base and Path(base).exists() else str(base),
        "weights": digest(weights) if has_file else "",
        "tools": tools_hash(),
    }


def fine_tune(
    base: tuple[PreTrainedModel, PreTrainedTokenizerBase],
    pairs: Sequence[Pair],
    validation: Sequence[Mapping[str, Any]],
    template: PromptTemplate,
    settings: FineTuning,
    folder: Path,
    source: Mapping[str, Any],
    report: Callable[[str], None],
    index: ExampleIndex | None = None,
    start: Path | None = None,
    anew: bool = False,
    tools: Mapping[str, Tool] = MAC_TOOLS,
) -> dict[str, Any]:
    """Train on pairs, and leave in `folder` the adapter (or all weights), the tokenizer and `manifest.json`, which is
    returned; its loss is that of the last logged steps, its seconds are those of all processes that worked on it.

    `source` says what the run is made of, see `provenance`; `index` finds the examples in validation prompts; `start` is
    an adapter to go on from; validation prompts show `tools`. If the folder holds a run of other things, `anew` deletes it.

    Raises:
        InputError: the folder holds another run (and not `anew`), a pair is longer than the model reads, or `start`
            cannot be gone on from.
    """
    model, tokenizer = base
    data = digest_text(repr((list(pairs), [dict(row) for row in validation])))
    made_of = dict(source) | {"template": template.hash, "examples": template.examples}
    made_of |= {"settings": asdict(settings), "data": data}
    made_of["start"] = check_start(start, made_of) if start else None
    if finished := claim(folder, made_of, anew):
        return finished
    check_lengths(pairs, tokenizer, model.config.max_position_embeddings)
    trainer = make_trainer(base, pairs, validation, template, settings, folder / "checkpoints", report, index, tools)
    if start:
        set_peft_model_state_dict(trainer.model, load_file(start / "adapter_model.safetensors"))
    return finish(trainer, folder, made_of)


def finish(trainer: Measured, folder: Path, made_of: Mapping[str, Any], keep: Sequence[str] = ()) -> dict[str, Any]:
    """Train, from the last checkpoint in `folder` on if there is one, and leave there what was trained and its manifest.

    The manifest is returned: `loss` of the last logged steps, `seconds` of all processes that worked on it, `tokens` that went
    through the model, and the `log` of what `keep` names, with the step.
    """
    outcome = trainer.train(resume_from_checkpoint=whole_checkpoint(folder / "checkpoints"))
    for name, config in getattr(trainer.model, "peft_config", {}).copy().items():
        if name == "default":  # the folder of a base is another one on another machine
            config.base_model_name_or_path = made_of.get("base") or None
        else:  # what it was compared with
            trainer.model.delete_adapter(name)
    trainer.save_model(str(folder))
    noted = [{key: entry[key] for key in ("step", *keep) if key in entry} for entry in trainer.state.log_history]
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    manifest = dict(made_of) | {
        "loss": losses[-1] if losses else outcome.training_loss,
        "validation_success": trainer.state.best_metric,
        "tokens": trainer.tokens(),
        "log": [entry for entry in noted if len(entry) > 1],
        "seconds": trainer.seconds(),
        "core_seconds": trainer.seconds("cores_took"),
        "hardware": hardware(),
        "finished": True,
    }
    trainer.accelerator.wait_for_everyone()
    if is_main():
        write_json(folder / "manifest.json", manifest)
        for extra in ("README.md", "training_args.bin"):
            (folder / extra).unlink(missing_ok=True)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return manifest


def check_start(start: Path, made_of: Mapping[str, Any]) -> str:
    """The digest of an adapter that another run may go on from.

    Raises:
        InputError: it is none, or for another base or template, or of another rank.
    """
    path, manifest = start / "adapter_model.safetensors", read_manifest(start)
    if not path.exists():
        raise InputError(f"there is no adapter in {start}; give --start a folder that tinyagent train wrote")
    found = manifest | {"rank": manifest.get("settings", {}).get("rank")}
    wanted = dict(made_of) | {"rank": made_of["settings"]["rank"]}
    if different := [key for key in ("weights", "template", "rank") if found.get(key) != wanted.get(key)]:
        raise InputError(f"the adapter in {start} has other {', '.join(different)}; start with a new one instead")
    return digest(path)


def make_trainer(
    base: tuple[PreTrainedModel, PreTrainedTokenizerBase],
    pairs: Sequence[Pair],
    validation: Sequence[Mapping[str, Any]],
    template: PromptTemplate,
    settings: FineTuning,
    folder: Path,
    report: Callable[[str], None],
    index: ExampleIndex | None = None,
    tools: Mapping[str, Tool] = MAC_TOOLS,
) -> PlannerTrainer:
    """trl's trainer for these settings; the loss covers completions only."""
    model, tokenizer = base
    if settings.four_bits:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=settings.checkpointing)

    muon = {"lr": settings.rate, "weight_decay": settings.weight_decay, "adjust_lr_fn": "original"}
    trainer = PlannerTrainer(
        model=model,
        args=_arguments(settings, folder, on_cpu=model.device.type == "cpu", validate=bool(validation)),
        train_dataset=Dataset.from_list([_columns(pair, tokenizer) for pair in pairs]),
        eval_dataset=Dataset.from_list([_columns(pairs[0], tokenizer)]) if validation else None,
        processing_class=tokenizer,
        peft_config=adapter(settings) if settings.rank else None,
        optimizer_cls_and_kwargs=(Muon, muon) if settings.muon else None,
        callbacks=[Progress(report), Checkpoints()],
        measure=measuring(tokenizer, template, validation, tools, index=index),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    if settings.simulate:
        train_with_four_bits(trainer.model)
    return trainer


def measuring(
    tokenizer: PreTrainedTokenizerBase,
    template: PromptTemplate,
    validation: Sequence[Mapping[str, Any]],
    everything: Mapping[str, Tool] = MAC_TOOLS,
    **shown: Any,
) -> Callable[[Any], float]:
    """A function that says how many validation requests a model in training plans rightly; it is shown `everything`, unless
    `shown` says otherwise (see `write_plans`)."""
    shown.setdefault("tools", lambda row: everything)

    def measure(trained: Any) -> float:
        planner = TransformersModel(trained, tokenizer, name="training", template=template.hash)
        gold = {row["id"]: row["plan"] for row in validation}
        result = score(write_plans(planner, template, validation, **shown), gold, everything)
        return result.successes / result.n

    return measure


def adapter(settings: FineTuning) -> LoraConfig:
    """LoRA on every linear layer of the blocks: the published adapters name neither rank nor targets, and Dettmers et al.
    (QLoRA, 2023, section 4) find that all layers matter more than the rank."""
    return LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM"
    )


def check_lengths(pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase, context: int) -> None:
    """See that nothing would be cut off.

    Raises:
        InputError: a pair is longer than the model reads.
    """
    texts = [pair.prompt + pair.completion for pair in pairs]
    if tokenizer.chat_template:
        chats = [[{"role": "user", "content": text}] for text in texts]
        texts = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True, **CHAT_OPTIONS)
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    if max(lengths) + 1 > context:
        number = lengths.index(max(lengths))
        raise InputError(
            f"example {number} has {max(lengths):,} tokens, but the model reads {context:,}; show fewer negatives or examples"
        )


def _columns(pair: Pair, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """A pair as trl wants it: two texts, or two messages for a model that has a chat template."""
    if not tokenizer.chat_template:
        return {"prompt": pair.prompt, "completion": pair.completion}
    return {
        "prompt": [{"role": "user", "content": pair.prompt}],
        "completion": [{"role": "assistant", "content": pair.completion}],
        "chat_template_kwargs": CHAT_OPTIONS,
    }


def _arguments(settings: FineTuning, folder: Path, on_cpu: bool, validate: bool) -> SFTConfig:
    micro_batch, accumulated = per_process(settings.batch, settings.micro_batch)
    return SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=accumulated,
        num_train_epochs=settings.epochs,
        learning_rate=settings.rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,
        weight_decay=settings.weight_decay,
        completion_only_loss=True,
        max_length=None,
        eval_strategy="epoch" if validate else "no",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=validate,
        metric_for_best_model="success" if validate else None,
        greater_is_better=True if validate else None,
        logging_steps=20,
        bf16=settings.bf16 and computes_bf16(),
        use_cpu=on_cpu,
        activation_checkpointing=settings.checkpointing,
        ddp_backend="gloo" if on_cpu and processes() > 1 else None,
        dataloader_pin_memory=not on_cpu,
        report_to="none",
        disable_tqdm=True,
        seed=settings.seed,
        data_seed=settings.seed,
    )


def claim(folder: Path, made_of: Mapping[str, Any], anew: bool) -> dict[str, Any] | None:
    """The manifest of a finished run of the same things; None if it is still to be done, and then the folder is made for it.

    Raises:
        InputError: the folder holds a run of other things, and not `anew`.
    """
    path = make_folder(folder) / "manifest.json"
    if path.exists():
        found = read_json(path)
        different = [key for key, value in made_of.items() if key != "command" and found.get(key) != value]
        if not different:
            return found if found.get("finished") else None
        if not anew:
            raise InputError(f"{folder} holds a run with other {', '.join(different)}; choose another, or delete it")
        shutil.rmtree(folder)
        make_folder(folder)
    if is_main():
        write_json(path, dict(made_of) | {"finished": False})
    return None
