"""What the course relies on in libraries that change often, beyond what their documentation promises. Where one of these fails
after a pin was raised, look there first; the weekly job runs them on the latest versions."""

import inspect
import re
from importlib.metadata import version

import llama_cpp
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, set_peft_model_state_dict
from transformers import Trainer, TrainingArguments
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from tinyagent_helpers.artifacts import ROOT

TRAINER = {"model", "args", "train_dataset", "processing_class", "callbacks"}
TAKES = {
    "trl's SFT trainer": (SFTTrainer.__init__, TRAINER | {"eval_dataset", "peft_config", "optimizer_cls_and_kwargs"}),
    "trl's DPO trainer": (DPOTrainer.__init__, TRAINER | {"eval_dataset"}),
    "trl's GRPO trainer": (GRPOTrainer.__init__, TRAINER | {"reward_funcs"}),
    "trl's SFT settings": (SFTConfig.__init__, {"max_length", "activation_checkpointing", "use_cpu", "ddp_backend"}),
    "trl's DPO settings": (DPOConfig.__init__, {"beta", "max_length"}),
    "trl's GRPO settings": (GRPOConfig.__init__, {"num_generations", "max_completion_length", "temperature"}),
    "the trainer's sampler": (Trainer._get_train_sampler, {"train_dataset"}),
    "the trainer's loss": (Trainer.compute_loss, {"inputs", "return_outputs", "num_items_in_batch"}),
    "the trainer's settings": (TrainingArguments.__init__, {"data_seed", "warmup_steps", "dataloader_pin_memory"}),
    "peft's settings": (LoraConfig.__init__, {"r", "lora_alpha", "target_modules", "lora_dropout", "task_type"}),
    "peft's loading": (set_peft_model_state_dict, {"model", "peft_model_state_dict"}),
    "datasets": (Dataset.from_list, {"mapping"}),
    "torch's Muon": (torch.optim.Muon.__init__, {"lr", "weight_decay", "adjust_lr_fn"}),
    "llama.cpp": (
        llama_cpp.Llama.__init__,
        {"model_path", "n_ctx", "n_threads", "draft_model", "logits_all", "verbose"},
    ),
    "llama.cpp's completions": (
        llama_cpp.Llama.create_completion,
        {"prompt", "max_tokens", "temperature", "grammar", "stop", "stream", "repeat_penalty"},
    ),
    "llama.cpp's quantiser": (llama_cpp.llama_model_quantize, {"fname_inp", "fname_out", "params"}),
}


@pytest.mark.parametrize("what", TAKES)
def test_a_library_still_takes_what_the_course_gives_it(what):
    function, names = TAKES[what]
    assert names <= set(inspect.signature(inspect.unwrap(function)).parameters)


def test_what_is_installed_is_what_is_pinned():
    lines = (ROOT / "requirements.txt").read_text() + (ROOT / "requirements-bfcl.txt").read_text()
    pins = dict(re.findall(r"^([\w.-]+)(?:\[\w+\])?==([\w.]+)", lines, re.MULTILINE))
    assert pins
    assert {name: version(name).partition("+")[0] for name in pins} == pins
