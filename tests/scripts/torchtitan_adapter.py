#!/usr/bin/env python3
"""The printed torchtitan adapter against the real package, on the CPU.

Not part of `cargo test`: it needs torch and torchtitan.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install torch torchtitan==0.3.0
    cargo build
    /tmp/venv/bin/python tests/scripts/torchtitan_adapter.py target/debug/boptop

torchtitan wants an accelerator. `on_the_cpu` takes the place of what asks for one: the device, its
memory statistics, flex attention (no backward pass on a CPU; here plain causal attention) and one
barrier by device number. The launcher, the configuration, the trainer's loop and its train_step,
gradient accumulation, learning-rate schedule, data loader and checkpoints are the package's own, in
one process. Beside what adapter_site.py checks: the trainer's own count of forward passes per
optimizer step. Exit code 0: all as ordered.
"""
import json
import os
import random
import socket
import sys

from adapter_site import MICRO, OWN, SEQ_LEN, TOKENS_END, drive, require

WORDS = ["w%d" % i for i in range(60)]


def assets():
    """A tokenizer of words and a text, where the debug model looks for them."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    os.makedirs("tests/assets/tokenizer", exist_ok=True)
    os.makedirs("tests/assets/c4_test", exist_ok=True)
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<bos>", "<eos>"] + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<bos>", "<eos>"])
    tokenizer.save("tests/assets/tokenizer/tokenizer.json")
    with open("tests/assets/tokenizer/tokenizer_config.json", "w") as f:
        json.dump({"bos_token": "<bos>", "eos_token": "<eos>"}, f)
    source = random.Random(1)
    with open("tests/assets/c4_test/data.json", "w") as f:
        for _ in range(1000):
            f.write(json.dumps({"text": " ".join(source.choices(WORDS, k=200))}) + "\n")


def on_the_cpu():
    import torch
    from torchtitan.tools import utils

    utils.device_type, utils.device_module = "cpu", torch.cpu
    utils.get_local_device = lambda: torch.device("cpu")
    from torchtitan.components import metrics
    from torchtitan.distributed import utils as distributed
    from torchtitan.models.common.attention import FlexAttention
    from torchtitan.models.llama3.model import Llama3Model

    class Memory:
        device_name, device_capacity = "cpu", 1

        def get_peak_stats(self):
            return metrics.DeviceMemStats(0, 0, 0, 0, 0, 0)

        def reset_peak_stats(self):
            pass

    def attention(self, q_BLNH, k_BLNH, v_BLNH, *, attention_masks=None, **named):
        q, k, v = (x.transpose(1, 2) for x in (q_BLNH, k_BLNH, v_BLNH))
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return out.transpose(1, 2)

    metrics.build_device_memory_monitor = Memory
    distributed.set_pg_timeouts = lambda **named: None
    FlexAttention.forward = attention
    Llama3Model.get_attention_masks = lambda self, positions: None
    torch.set_num_threads(1)


def count_forward_passes():
    """Every optimizer step came after as many forward passes as the control file ordered."""
    from torchtitan.trainer import Trainer

    forward, step = Trainer.forward_backward_step, Trainer.train_step

    def counted(self, **named):
        self.passes += 1
        return forward(self, **named)

    def checked(self, data):
        self.passes = 0
        step(self, data)
        if self.passes != self.gradient_accumulation_steps:
            raise SystemExit("%d forward passes" % self.passes)

    Trainer.forward_backward_step, Trainer.train_step = counted, checked


def train(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK="0", LOCAL_RANK="0",
                      WORLD_SIZE="1", HF_HOME=os.path.join(folder, "cache"), HF_HUB_OFFLINE="1")
    os.chdir(folder)
    assets()
    on_the_cpu()
    from boptop_torchtitan import obey
    from torchtitan.train import main

    end = int(os.environ.get("ADAPTER_TOKENS_END", TOKENS_END))
    obey(os.path.join(folder, "live.jsonl"), tokens_end=end, poll_seconds=0.05)
    count_forward_passes()
    sys.argv[1:] = [
        "--module", "llama3", "--config", "llama3_debugmodel", "--dump_folder", "out",
        "--training.seq_len", str(SEQ_LEN), "--training.local_batch_size", str(MICRO),
        "--training.global_batch_size", str(OWN // SEQ_LEN),
        "--training.steps", str(TOKENS_END // OWN + 1), "--training.disable_cuda_graphs",
        "--checkpoint.enable", "--checkpoint.interval", "40", "--metrics.log_freq", "1"]
    main()


def checkpointed(folder):
    saved = os.path.join(folder, "out", "checkpoint")
    return os.path.isdir(saved) and any(
        os.path.exists(os.path.join(saved, name, ".metadata")) for name in os.listdir(saved))


if __name__ == "__main__":
    if sys.argv[1] == "--train":
        train(sys.argv[3])
    else:
        require(["torch", "torchtitan"])
        drive(sys.argv[1], __file__, "torchtitan", checkpointed, lead="3")
