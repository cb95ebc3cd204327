#!/usr/bin/env python3
"""The printed Hugging Face and PyTorch adapters against the real packages, on the CPU.

Not part of `cargo test`: it needs torch, and transformers and accelerate for the hook.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install torch 'transformers>=4.46' accelerate
    cargo build
    /tmp/venv/bin/python tests/scripts/hf_adapter.py target/debug/boptop [hf|pytorch]

A tiny model trains in a process of its own; boptop raises its batch size, the process is killed,
goes on from its last checkpoint, and the change is undone. Then every step of the metrics is held
against the accepted schedule. Exit code 0: all as ordered.
"""
import os
import sys
import time

from adapter_site import ACCUMULATION, MICRO, OWN, SEQ_LEN, TOKENS_END, drive, require, twenty_lines_back


def model_and_data():
    import torch

    torch.manual_seed(1)
    torch.set_num_threads(1)

    class Tokens(torch.utils.data.IterableDataset):
        def __iter__(self):
            generator = torch.Generator().manual_seed(int(time.time()))
            while True:
                row = torch.randint(0, 32, (SEQ_LEN,), generator=generator)
                yield {"input_ids": row, "labels": row.clone()}

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(32, 32)
            self.head = torch.nn.Linear(32, 32)

        def forward(self, input_ids, labels=None):
            logits = self.head(self.embed(input_ids))
            if labels is None:
                time.sleep(0.004)
                return logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
            time.sleep(0.004)  # the work of a larger model
            return {"loss": loss, "logits": logits}

    return Model(), Tokens()


def train_hf(folder):
    from boptop_hf import BoptopCallback
    from transformers import Trainer, TrainingArguments

    model, data = model_and_data()
    output = os.path.join(folder, "out")
    arguments = TrainingArguments(
        output_dir=output, max_steps=TOKENS_END // OWN + 1, per_device_train_batch_size=MICRO,
        gradient_accumulation_steps=ACCUMULATION, ignore_data_skip=True, logging_steps=1,
        logging_strategy="steps", save_steps=50, save_total_limit=2, lr_scheduler_type="constant",
        learning_rate=1e-3, report_to=[], use_cpu=True, disable_tqdm=True, dataloader_num_workers=0)
    trainer = Trainer(model=model, args=arguments, train_dataset=data)
    trainer.add_callback(BoptopCallback(
        trainer, os.path.join(folder, "live.jsonl"), seq_len=SEQ_LEN, tokens_end=TOKENS_END,
        poll_seconds=0.05))
    trainer.train(resume_from_checkpoint=last_whole(output))


def last_whole(output):
    """The latest checkpoint that the kill did not cut short: the adapter's file is written last."""
    names = os.listdir(output) if os.path.isdir(output) else []
    whole = [os.path.join(output, name) for name in names
             if os.path.exists(os.path.join(output, name, "boptop_tokens.json"))]
    return max(whole, key=lambda path: int(path.rsplit("-", 1)[1]), default=None)


def train_pytorch(folder):
    import boptop_pytorch
    import torch

    model, data = model_and_data()
    loader = torch.utils.data.DataLoader(data, batch_size=MICRO)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    step, tokens = twenty_lines_back(folder)  # the weights do not matter here
    batches = ((batch["input_ids"], batch["labels"]) for batch in loader)
    boptop_pytorch.train(
        model, optimizer, batches, lambda tokens: 1e-3, os.path.join(folder, "live.jsonl"),
        MICRO, SEQ_LEN, OWN, TOKENS_END, step=step, tokens=tokens, log_every=1)


def checkpointed(folder):
    return last_whole(os.path.join(folder, "out")) is not None


if __name__ == "__main__":
    if sys.argv[1] == "--train":
        {"hf": train_hf, "pytorch": train_pytorch}[sys.argv[2]](sys.argv[3])
    else:
        packages = {"hf": ["torch", "transformers", "accelerate"], "pytorch": ["torch"]}
        for kind in sys.argv[2:] or ["hf", "pytorch"]:
            require(packages[kind])
            drive(sys.argv[1], __file__, kind, checkpointed if kind == "hf" else None)
