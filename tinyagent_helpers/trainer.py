"""trl's trainer, fitted to planners: a loss on completions only, batches of like length, success instead of a validation loss."""

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from torch.utils.data import Sampler
from transformers import Trainer, TrainerCallback
from trl import SFTTrainer

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.transformers_model import UNSEEN

SAVE_STEPS = 50
# trl 1.16 speaks of checkpointing in words that transformers 5.23 has renamed
warnings.filterwarnings("ignore", message=".*gradient_checkpointing` is deprecated", category=FutureWarning)


def whole_checkpoint(folder: Path) -> str | None:
    """The last checkpoint that was written to its end (`trainer_state.json` comes last), if there is one."""
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.partition("-")[2]))) if whole else None


def processes() -> int:
    """How many processes train together: what `accelerate launch` and torchrun say."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def per_process(batch: int, micro_batch: int) -> tuple[int, int]:
    """How many examples a process reads at once, and how often before a step, so that all processes together read `batch`.

    Raises:
        InputError: that cannot be.
    """
    number = processes()
    micro_batch = max(1, min(micro_batch, batch // number))
    if batch % (micro_batch * number):
        raise InputError(
            f"a batch of {batch} cannot be split over {number} processes and {micro_batch} examples at a "
            f"time; choose a multiple of {micro_batch * number}"
        )
    return micro_batch, batch // (micro_batch * number)


def is_main() -> bool:
    """Whether this process speaks and writes for all."""
    return os.environ.get("RANK", "0") == "0"


class Timed(Trainer):
    """A trainer that notes in each log entry the seconds since the last one, those of the clock and those that processor cores
    worked: what a run that was interrupted and went on has taken is their sum."""

    _since = None

    def log(self, logs, *args, **kwargs):
        """Also note the seconds."""
        now = _clocks()
        for clock, time_now in now.items():
            logs[clock] = round(time_now - (self._since or now)[clock], 3)
        self._since = now
        super().log(logs, *args, **kwargs)

    def train(self, *args, **kwargs):
        """Train; the clocks start here."""
        self._since = _clocks()
        return super().train(*args, **kwargs)

    def seconds(self, clock: str = "took") -> float:
        """What the run has taken, over all processes that worked on it; by the clock "cores_took", seconds of one core."""
        return round(sum(entry.get(clock, 0.0) for entry in self.state.log_history), 1)


def _clocks() -> dict[str, float]:
    return {"took": time.monotonic(), "cores_took": time.process_time()}


class Measured(Timed):
    """A trainer that instead of a validation loss measures how many generated plans are right."""

    def __init__(self, *args: Any, measure: Callable[[Any], float], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._measure = measure

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The success rate as `eval_success`."""
        model = self.accelerator.unwrap_model(self.model)
        training = model.training
        metrics = {"eval_success": self._measure(model)}
        model.train(training)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class PlannerTrainer(Measured, SFTTrainer):
    """trl's trainer for plans that are known.

    Its loss is trl's, with logits only where some completion stands: without Triton, trl scores every token of the prompts,
    too, which on a CPU takes most of a step. And what a batch's prompts begin with in common, such as the tools, is read
    once, unless activations are thrown away.
    """

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The mean negative log-likelihood of the completions' tokens, over all processes."""
        labels = inputs.pop("labels")
        places = (labels[:, 1:] != UNSEEN).any(dim=0).nonzero().squeeze(1)
        ids = inputs.pop("input_ids")
        alone = self.args.activation_checkpointing or len(ids) == 1
        shared = 0 if alone else _in_common(ids[:, : places[0]])
        if shared:
            inputs["past_key_values"] = model(
                input_ids=ids[:1, :shared], use_cache=True, logits_to_keep=1
            ).past_key_values
            inputs["past_key_values"].batch_repeat_interleave(len(ids))
        logits = model(
            **inputs, input_ids=ids[:, shared:], use_cache=bool(shared), logits_to_keep=places - shared
        ).logits
        total = cross_entropy(logits.flatten(0, 1).float(), labels[:, places + 1].flatten(), reduction="sum")
        return total / num_items_in_batch * self.accelerator.num_processes

    def tokens(self) -> int:
        """How many tokens the model reads in this training, what fills up batches left out."""
        return round(sum(map(len, self.train_dataset["input_ids"])) * self.args.num_train_epochs)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler:
        lengths = [len(ids) for ids in (train_dataset or self.train_dataset)["input_ids"]]
        return GroupedByLength(lengths, self.args.per_device_train_batch_size, self.args.seed)


class GroupedByLength(Sampler):
    """Batches of examples of about the same length, in an order that seed and epoch decide alone.

    transformers' own sampler goes from the longest examples of each fifty batches to the shortest, so that for a while every
    step sees plans only and then joins only; and its order, begun anew, is another one.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int):
        self.lengths, self.batch, self.seed, self.epoch = lengths, batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Take another order; the trainer says when."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = Random(f"order-{self.seed}-{self.epoch}")
        order = rng.sample(range(len(self)), len(self))
        order.sort(key=self.lengths.__getitem__)
        *batches, last = (order[start : start + self.batch] for start in range(0, len(order), self.batch))
        rng.shuffle(batches)
        return chain(*batches, last)


def _in_common(ids: torch.Tensor) -> int:
    """How many tokens rows of ids (rows, tokens) begin with in common."""
    return int((ids == ids[:1]).all(dim=0).cumprod(dim=0).sum())


class Checkpoints(TrainerCallback):
    """A checkpoint every `SAVE_STEPS` steps, beside the one that every epoch ends with: an epoch may take hours."""

    def on_step_end(self, args, state, control, **kwargs):
        """Ask for one."""
        if state.global_step % SAVE_STEPS == 0:
            control.should_save = True


class Progress(TrainerCallback):
    """One line of text now and then, with an estimate."""

    def __init__(self, report: Callable[[str], None]):
        self.report, self.started, self.first = report, time.monotonic(), None

    def on_step_begin(self, args, state, control, **kwargs):
        """Note where this run of the process began."""
        if self.first is None:
            self.first, self.started = state.global_step, time.monotonic()

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Tell loss, success and time left."""
        if not state.is_world_process_zero or not logs:
            return
        done = state.global_step - (self.first or 0)
        left = (time.monotonic() - self.started) / max(1, done) * (state.max_steps - state.global_step)
        what = (
            f"loss {logs['loss']:.3f}"
            if "loss" in logs
            else f"success {logs['eval_success']:.0%}"
            if "eval_success" in logs
            else ""
        )
        if what:
            self.report(f"step {state.global_step:,} of {state.max_steps:,}, {what}, {left / 60:.1f} min left")
