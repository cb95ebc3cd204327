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
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

SEQ_LEN, MICRO, ACCUMULATION = 16, 2, 2
UNIT = MICRO * SEQ_LEN
OWN = UNIT * ACCUMULATION
TOKENS_END = 400_000
LEAD = "0.3"


# --- the trainers, each in a process of its own -------------------------------------------------

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
    from transformers.trainer_utils import get_last_checkpoint

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
    last = get_last_checkpoint(output) if os.path.isdir(output) else None
    trainer.train(resume_from_checkpoint=last)


def train_pytorch(folder):
    import boptop_pytorch
    import torch

    model, data = model_and_data()
    loader = torch.utils.data.DataLoader(data, batch_size=MICRO)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    # Twenty lines back stands for an older checkpoint; the weights do not matter here.
    try:
        with open(os.path.join(folder, "live.jsonl")) as f:
            older = [json.loads(line) for line in f if line.endswith("\n")][-20]
    except (FileNotFoundError, IndexError):
        older = {"step": 0, "tokens": 0}
    batches = ((batch["input_ids"], batch["labels"]) for batch in loader)
    boptop_pytorch.train(
        model, optimizer, batches, lambda tokens: 1e-3, os.path.join(folder, "live.jsonl"),
        MICRO, SEQ_LEN, OWN, TOKENS_END, step=older["step"], tokens=older["tokens"], log_every=1)


# --- the person ---------------------------------------------------------------------------------

class Site:
    def __init__(self, boptop, kind, folder):
        self.boptop, self.kind, self.folder, self.process = boptop, kind, folder, None
        names = {"python": "boptop_control.py", "hf": "boptop_hf.py", "pytorch": "boptop_pytorch.py"}
        for adapter in ("python", kind):
            text = subprocess.run([boptop, "adapter", adapter], check=True, capture_output=True)
            with open(os.path.join(folder, names[adapter]), "wb") as f:
                f.write(text.stdout)

    def start(self):
        environment = dict(os.environ, PYTHONPATH=self.folder, PYTHONDONTWRITEBYTECODE="1")
        for name in ("BOPTOP_CONTROL", "SLURM_JOB_ID"):
            environment.pop(name, None)
        log = open(os.path.join(self.folder, "out.log"), "ab")
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--train", self.kind, self.folder], env=environment,
            stdout=log, stderr=log)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def lines(self, end):
        try:
            with open(os.path.join(self.folder, "live." + end)) as f:
                return [json.loads(line) for line in f if line.endswith("\n") and line.strip()]
        except FileNotFoundError:
            return []

    def control(self, *words):
        run = subprocess.run(
            [self.boptop, "control", words[0], os.path.join(self.folder, "live.jsonl"),
             "--lead", LEAD, "--json", *words[1:]], capture_output=True, text=True)
        if run.returncode:
            sys.exit("%s: exit %d: %s" % (" ".join(words), run.returncode, run.stderr))
        return json.loads(run.stdout)

    def until(self, what, holds):
        end = time.monotonic() + 120
        while not holds():
            if self.process.poll() is not None or time.monotonic() > end:
                with open(os.path.join(self.folder, "out.log")) as f:
                    sys.exit("no %s\n%s\n%s" % (what, f.read()[-3000:], self.lines("control.ack.jsonl")[-5:]))
            time.sleep(0.05)

    def until_applied(self, revision):
        self.until("revision %d applied" % revision, lambda: (
            lambda c: c["state"] == "applied" and c["revision"] == revision)(self.control("show")))
        print("revision %d applied: %s" % (revision, self.lines("jsonl")[-1]))


GUARDS = ["catch-up", "warmup", "stale-estimate", "law-misses-past", "bump-size", "below-b-min"]
OVERRIDES = [word for guard in GUARDS for word in ("--override", guard)]


def check(site):
    schedules = {a["revision"]: a["schedule"] for a in site.lines("control.ack.jsonl")
                 if a["status"] == "accepted"}
    steered, former = 0, None
    for line in site.lines("jsonl"):
        size = line["batch_size_tokens"]
        start = line["tokens"] - size
        acting = [e for e in schedules.get(line["control_revision"], []) if e["from_tokens"] <= start]
        ordered = acting[-1]["batch_size_tokens"] if acting else OWN
        assert size == ordered, (line, ordered)
        steered += bool(acting)
        # A mean over the batch, whatever its size: no jump where the size changes.
        if former and line["step"] == former["step"] + 1:
            assert 0.6 < line["loss"] / former["loss"] < 1.6, (former, line)
        former = line
    events = [(a["event"], a["revision"]) for a in site.lines("control.log.jsonl")]
    for revision in schedules:
        for event in ("approved", "written", "accepted", "applied"):
            assert events.count((event, revision)) == 1, (event, revision, events)
    return len(site.lines("jsonl")), steered


def main(boptop, kind):
    with tempfile.TemporaryDirectory() as folder:
        site = Site(os.path.abspath(boptop), kind, folder)
        site.start()
        try:
            site.until("metrics", lambda: len(site.lines("jsonl")) > 30)
            assert site.control("approve", "--batch-size", str(2 * OWN), "--yes", *OVERRIDES)["wrote"]
            site.until_applied(1)
            if kind == "hf":
                site.until("a checkpoint", lambda: any(
                    name.startswith("checkpoint-") for name in os.listdir(os.path.join(folder, "out"))))
            # Some steps further on than what it will go back to.
            reached = len(site.lines("jsonl")) + 10
            site.until("steps", lambda: len(site.lines("jsonl")) > reached)
            site.kill()
            before = site.lines("jsonl")
            site.start()
            site.until("resumed", lambda: len(site.lines("jsonl")) > len(before) + 20)
            again = site.lines("jsonl")[len(before)]
            print("killed at %d tokens, resumed: %s" % (before[-1]["tokens"], again))
            assert again["control_revision"] == 1 and again["tokens"] < before[-1]["tokens"], again
            site.until_applied(1)
            assert site.control("undo", "--yes", *OVERRIDES)["wrote"]
            site.until_applied(2)
        finally:
            site.kill()
        lines, steered = check(site)
        assert steered > 10
        print("%s: %d lines, %d under an accepted schedule, every batch size as ordered"
              % (kind, lines, steered))


if __name__ == "__main__":
    if sys.argv[1] == "--train":
        {"hf": train_hf, "pytorch": train_pytorch}[sys.argv[2]](sys.argv[3])
    else:
        packages = {"hf": ["torch", "transformers", "accelerate"], "pytorch": ["torch"]}
        for kind in sys.argv[2:] or ["hf", "pytorch"]:
            missing = [p for p in packages[kind] if importlib.util.find_spec(p) is None]
            if missing:
                sys.exit("not run: %s is not installed" % ", ".join(missing))
            main(sys.argv[1], kind)
