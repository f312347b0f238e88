"""DPO and GRPO on a planner's LoRA adapter, through trl. Derived in notebook 05.

Both go on from an adapter that fine-tuning left, and leave another one for the same base. Like fine-tuning they run in one
process or, under `accelerate launch`, in several, and go on from their last checkpoint when interrupted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel, prepare_model_for_kbit_training
from transformers import PreTrainedTokenizerBase, ProgressCallback
from transformers.trainer_callback import PrinterCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer

from tinyagent_helpers.artifacts import InputError, digest_text
from tinyagent_helpers.examples import Pair, plan_pair, shown_tools
from tinyagent_helpers.models import CHAT_OPTIONS, read_manifest
from tinyagent_helpers.preferences import Preference
from tinyagent_helpers.profiles import Profile
from tinyagent_helpers.prompts import ExampleIndex, PromptTemplate
from tinyagent_helpers.rewards import WEIGHTS, Reward
from tinyagent_helpers.trainer import Checkpoints, Measured, Progress, per_process, processes
from tinyagent_helpers.training import check_start, claim, finish, measuring
from tinyagent_helpers.transformers_model import computes_bf16, load_base


@dataclass(frozen=True)
class Aligning:
    """How to align. `rows`: requests; `rate`: the highest learning rate; `batch`: pairs (DPO) or plans (GRPO) a step, over all
    processes.

    `beta` is how strongly DPO's policy is held to where it started, and for GRPO the weight of that pull in the loss.
    `likelihood` is how much the loss of fine-tuning on the chosen plans counts beside DPO's own (DPO only; Pang et al., 2024).
    `generations` plans are tried for each request, at `temperature`, of at most `longest` tokens (GRPO only). The rate rises
    over the share `warmup` of the steps; every `measure_every` steps the success on `validation` requests is measured.
    """

    rows: int
    rate: float
    batch: int
    beta: float
    likelihood: float = 0.0
    generations: int = 8
    temperature: float = 1.0
    longest: int = 200
    epochs: float = 1
    negatives: int = 4
    micro_batch: int = 32
    warmup: float = 0.1
    measure_every: int = 25
    validation: int = 48
    four_bits: bool = False
    checkpointing: bool = False
    bf16: bool = True
    seed: int = 0


DPO = {
    "nano": Aligning(96, 5e-5, 4, 0.1, longest=128, micro_batch=4, warmup=0.0, measure_every=3, validation=24),
    "laptop": Aligning(4_000, 5e-6, 32, 0.1, micro_batch=2, checkpointing=True),
    "gpu": Aligning(10_000, 5e-6, 32, 0.1, micro_batch=2, checkpointing=True, four_bits=True),
    "paper": Aligning(40_000, 5e-6, 64, 0.1, micro_batch=4, checkpointing=True),
}
GRPO = {
    "nano": Aligning(12, 1e-4, 16, 0.0, longest=128, micro_batch=16, warmup=0.0, measure_every=3, validation=24),
    "laptop": Aligning(2_000, 5e-6, 64, 0.0, micro_batch=8, checkpointing=True),
    "gpu": Aligning(8_000, 5e-6, 64, 0.0, micro_batch=8, checkpointing=True, four_bits=True),
    "paper": Aligning(20_000, 5e-6, 256, 0.0, generations=16, micro_batch=16, checkpointing=True),
}


# What a reward pays for these says what it is, whatever it is called: a right plan, one without its lookup, one too long, none
KNOWN = (
    '1. get_phone_number("Sid")\n2. send_sms(["$1"], "I am late")\n3. join()',
    '1. send_sms(["Sid"], "I am late")\n2. join()',
    '1. get_phone_number("Sid")\n2. send_sms(["$1"], "Hello")\n3. open_note("x", "")\n4. join()',
    "1. join()",
    "Sid!",
)


DPO_LOG = ("eval_success", "loss", "rewards/margins", "rewards/accuracies", "rewards/chosen", "rewards/rejected")


class _DPO(Measured, DPOTrainer):
    """trl's, with success for a validation loss."""

    def tokens(self) -> int:
        """How many tokens go through the model: both answers with their prompt, once to learn and once for the reference."""
        data = self.train_dataset
        both = sum(2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in data)
        return round(2 * both * self.args.num_train_epochs)


class _GRPO(Measured, GRPOTrainer):
    """trl's, with success for a validation loss. A prompt is read once for all plans of its group, unless activations are
    thrown away: most of what trl would read are copies of it."""

    def tokens(self) -> int:
        """How many tokens go through the model: every plan with its prompt, once to write it and once to learn from it."""
        return 2 * int(self.state.num_input_tokens_seen)

    def _get_per_token_logps_and_entropies(self, model, input_ids, attention_mask, logits_to_keep, *args, **kwargs):
        if self.args.gradient_checkpointing:
            parts = model, input_ids, attention_mask, logits_to_keep
            return super()._get_per_token_logps_and_entropies(*parts, *args, **kwargs)
        _, group = input_ids[:, :-logits_to_keep].unique(dim=0, return_inverse=True)
        order = group.argsort(stable=True)
        logits = torch.cat(
            [
                _after_prompt(model, input_ids[group == number], attention_mask[group == number], logits_to_keep)
                for number in range(int(group.max()) + 1)
            ]
        )[order.argsort()]
        logps = (logits / self.temperature).log_softmax(-1)
        entropies = -(logps.exp() * logps).sum(-1)
        return logps.gather(-1, input_ids[:, -logits_to_keep:, None])[..., 0], entropies, None


def _after_prompt(model: Any, ids: torch.Tensor, mask: torch.Tensor, length: int) -> torch.Tensor:
    """The logits of the last `length` tokens of rows that begin alike, (rows, length, vocabulary)."""
    last = ids.shape[1] - length - 1  # of the prompt, which is filled up on the left
    start = int((mask[0, :last] == 0).sum())
    cache = model(input_ids=ids[:1, start:last], use_cache=True, logits_to_keep=1).past_key_values
    cache.batch_repeat_interleave(len(ids))
    made = model(input_ids=ids[:, last:-1], attention_mask=mask[:, start:-1], past_key_values=cache, use_cache=True)
    return made.logits.float()


def aligning_pairs(
    rows: Sequence[Mapping[str, Any]], template: PromptTemplate, settings: Aligning, index: ExampleIndex | None = None
) -> list[Pair]:
    """Prompts and right plans for these rows. A prompt shows the tools needed and up to `negatives` others, as it does behind a
    retriever."""
    rng = Random(f"aligning-{settings.seed}")
    pairs = []
    for row in rows:
        tools = shown_tools(row["tools"], rng, settings.negatives, all_tools=0)
        examples = index.nearest(row["request"], template.examples, tools) if index else ()
        pairs.append(plan_pair(row, template, tools, examples))
    return pairs


def load_trainable(profile: Profile, start: Path, settings: Aligning) -> tuple[PeftModel, PreTrainedTokenizerBase]:
    """The base with the adapter in `start` beside it, ready to be trained on.

    Raises:
        InputError: there is no finished adapter, or its base cannot be loaded.
    """
    if not (start / "adapter_config.json").exists():
        raise InputError(f"there is no adapter in {start}; give --start a folder that tinyagent train wrote")
    base, tokenizer = load_base(profile, read_manifest(start).get("base", ""), settings.four_bits)
    if settings.four_bits:
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=settings.checkpointing)
    return PeftModel.from_pretrained(base, start, is_trainable=True), tokenizer


def prefer(
    profile: Profile,
    start: Path,
    pairs: Sequence[Preference],
    validation: Sequence[Mapping[str, Any]],
    template: PromptTemplate,
    settings: Aligning,
    folder: Path,
    report: Callable[[str], None],
    index: ExampleIndex | None = None,
    command: str = "",
    anew: bool = False,
) -> dict[str, Any]:
    """DPO (Rafailov et al., 2023): make the chosen answers likelier than the rejected ones, compared with where the adapter in
    `start` had them. Leaves an adapter with a manifest in `folder` and returns the manifest.

    Raises:
        InputError: there are no pairs, `start` does not fit, or the folder holds another run (and not `anew`).
    """
    if not pairs:
        raise InputError("DPO needs pairs; were all of them dropped? Take more rows, or a weaker model's answers")
    made_of = _made_of("dpo", start, template, settings, [list(pairs), list(validation)], command)
    if finished := claim(folder, made_of, anew):
        return finished
    model, tokenizer = load_trainable(profile, start, settings)
    trainer = dpo_trainer(
        (model, tokenizer), pairs, validation, template, settings, folder / "checkpoints", report, index
    )
    return finish(trainer, folder, made_of, DPO_LOG)


def dpo_trainer(
    base: tuple[PeftModel, PreTrainedTokenizerBase],
    pairs: Sequence[Preference],
    validation: Sequence[Mapping[str, Any]],
    template: PromptTemplate,
    settings: Aligning,
    folder: Path,
    report: Callable[[str], None],
    index: ExampleIndex | None = None,
) -> DPOTrainer:
    """trl's trainer for these pairs; the reference is a frozen copy of the adapter as it is now."""
    model, tokenizer = base
    options = _arguments(settings, folder, bool(validation), model.device.type == "cpu")
    losses = {"sigmoid": 1.0} | ({"sft": settings.likelihood} if settings.likelihood else {})
    arguments = DPOConfig(
        **options, beta=settings.beta, loss_type=list(losses), loss_weights=list(losses.values()), max_length=None
    )
    rows = [_chat(pair, tokenizer) for pair in pairs]
    trainer = _DPO(
        model=model, args=arguments, train_dataset=Dataset.from_list(rows), eval_dataset=_stand_in(rows, validation),
        processing_class=tokenizer, callbacks=[Progress(report), Checkpoints()],
        measure=_measure(tokenizer, template, validation, settings, index),
    )  # fmt: skip
    return _quiet(trainer)


def reinforce(
    profile: Profile,
    start: Path,
    rows: Sequence[Mapping[str, Any]],
    validation: Sequence[Mapping[str, Any]],
    template: PromptTemplate,
    settings: Aligning,
    folder: Path,
    report: Callable[[str], None],
    weights: Mapping[Reward, float] = WEIGHTS,
    index: ExampleIndex | None = None,
    command: str = "",
    anew: bool = False,
) -> dict[str, Any]:
    """GRPO (Shao et al., 2024): try several plans for each request, and make those likelier that earn more than their group's
    mean. Leaves an adapter with a manifest in `folder` and returns the manifest.

    Raises:
        InputError: there are too few rows, `start` does not fit, or the folder holds another run (and not `anew`).
    """
    if len(rows) < (least := max(1, settings.batch // settings.generations)):
        raise InputError(
            f"GRPO needs {least} requests for a step, and there are {len(rows)}; give more, or a smaller batch"
        )
    pairs = aligning_pairs(rows, template, settings, index)
    made_of = _made_of("grpo", start, template, settings, [pairs, list(validation)], command)
    made_of["rewards"] = {
        reward.__name__: {"weight": weight, "pays": [round(reward(plan, KNOWN[0]), 6) for plan in KNOWN]}
        for reward, weight in weights.items()
    }
    if finished := claim(folder, made_of, anew):
        return finished
    model, tokenizer = load_trainable(profile, start, settings)
    plans, checkpoints = [row["plan"] for row in rows], folder / "checkpoints"
    parts = pairs, plans, validation, template, settings, checkpoints, report, weights, index
    keep = ["eval_success", "reward", "completions/mean_length", *(f"rewards/{r.__name__}/mean" for r in weights)]
    return finish(grpo_trainer((model, tokenizer), *parts), folder, made_of, keep)


def grpo_trainer(
    base: tuple[PeftModel, PreTrainedTokenizerBase],
    pairs: Sequence[Pair],
    plans: Sequence[str],
    validation: Sequence[Mapping[str, Any]],
    template: PromptTemplate,
    settings: Aligning,
    folder: Path,
    report: Callable[[str], None],
    weights: Mapping[Reward, float] = WEIGHTS,
    index: ExampleIndex | None = None,
) -> GRPOTrainer:
    """trl's trainer for these prompts; a plan it tries is compared with the right one in `plans`."""
    model, tokenizer = base
    options = _arguments(settings, folder, bool(validation), model.device.type == "cpu")
    arguments = GRPOConfig(
        **options,
        beta=settings.beta,
        num_generations=settings.generations,
        temperature=settings.temperature,
        max_completion_length=settings.longest,
        reward_weights=list(weights.values()),
        loss_type="grpo",
        chat_template_kwargs=CHAT_OPTIONS,
    )
    rows = [_chat(pair, tokenizer) | {"gold": plan} for pair, plan in zip(pairs, plans, strict=True)]
    trainer = _GRPO(
        model=model, args=arguments, train_dataset=Dataset.from_list(rows), eval_dataset=_stand_in(rows, validation),
        processing_class=tokenizer, callbacks=[Progress(report), Checkpoints()],
        reward_funcs=[_as_trl(reward, template) for reward in weights],
        measure=_measure(tokenizer, template, validation, settings, index),
    )  # fmt: skip
    return _quiet(trainer)


def _as_trl(reward: Reward, template: PromptTemplate) -> Callable[..., list[float]]:
    """A reward as trl calls it: for many completions at once."""

    def many(completions: Sequence[Any], gold: Sequence[str], **_: Any) -> list[float]:
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        return [reward("".join(template.read([text])), plan) for text, plan in zip(texts, gold, strict=True)]

    many.__name__ = reward.__name__
    return many


def _chat(said: Preference | Pair, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """A prompt and its answers as trl wants them: texts, or messages for a model that has a chat template."""
    names = ("prompt", "chosen", "rejected") if isinstance(said, Preference) else ("prompt",)
    columns = {name: getattr(said, name) for name in names}
    if tokenizer.chat_template and isinstance(said.prompt, str):
        roles = {name: "user" if name == "prompt" else "assistant" for name in names}
        columns = {name: [{"role": roles[name], "content": text}] for name, text in columns.items()}
    return columns


def _made_of(
    method: str, start: Path, template: PromptTemplate, settings: Aligning, data: Sequence[Any], command: str
) -> dict[str, Any]:
    """What a run is made of, for its manifest: that of the adapter it goes on from, and its own."""
    found = read_manifest(start)
    kept = {key: found.get(key) for key in ("profile", "base", "weights", "tools")}
    made_of = kept | {"method": method, "template": template.hash, "examples": template.examples}
    made_of |= {"settings": asdict(settings) | {"rank": found.get("settings", {}).get("rank")}, "command": command}
    return made_of | {"start": check_start(start, made_of), "data": digest_text(repr(data))}


def _measure(
    tokenizer: PreTrainedTokenizerBase,
    template: PromptTemplate,
    validation: Sequence[Mapping[str, Any]],
    settings: Aligning,
    index: ExampleIndex | None,
) -> Callable[[Any], float]:
    rng = Random(f"measuring-{settings.seed}")
    shown = {row["id"]: shown_tools(row["tools"], rng, settings.negatives, all_tools=0) for row in validation}
    return measuring(tokenizer, template, validation, tools=lambda row: shown[row["id"]], index=index)


def _stand_in(rows: list[dict], validation: Sequence[Any]) -> Dataset | None:
    """Trainers measure only if there is something to measure on; ours looks elsewhere."""
    return Dataset.from_list(rows[:1]) if validation else None


def _arguments(settings: Aligning, folder: Path, validate: bool, on_cpu: bool) -> dict[str, Any]:
    micro_batch, accumulated = per_process(settings.batch, settings.micro_batch)
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": accumulated,
        "num_train_epochs": settings.epochs,
        "learning_rate": settings.rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": settings.warmup,
        "eval_strategy": "steps" if validate else "no",
        "eval_steps": settings.measure_every,
        "eval_on_start": validate,
        "per_device_eval_batch_size": settings.generations,
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "logging_steps": 1,
        "bf16": settings.bf16 and computes_bf16(),
        "use_cpu": on_cpu,
        "gradient_checkpointing": settings.checkpointing,
        "ddp_backend": "gloo" if on_cpu and processes() > 1 else None,
        "dataloader_pin_memory": not on_cpu,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": settings.seed,
        "data_seed": settings.seed,
    }


def _quiet(trainer: Any) -> Any:
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer
