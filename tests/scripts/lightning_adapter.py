#!/usr/bin/env python3
"""The printed Lightning adapter against the real package, on the CPU.

Not part of `cargo test`: it needs torch and lightning.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install torch 'lightning>=2.5'
    cargo build
    /tmp/venv/bin/python tests/scripts/lightning_adapter.py target/debug/boptop

Beside what adapter_site.py checks: the gradients are zeroed once per optimizer step, at its first
micro-batch, and the optimizer steps after exactly the ordered number of micro-batches, counted in
the module and not in the callback. Exit code 0: all as ordered.
"""
import os
import sys
import time

from adapter_site import ACCUMULATION, MICRO, SEQ_LEN, TOKENS_END, drive, require


def train(folder):
    import torch
    from boptop_lightning import BoptopCallback
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint

    torch.manual_seed(1)
    torch.set_num_threads(1)

    class Tokens(torch.utils.data.IterableDataset):
        def __iter__(self):
            generator = torch.Generator().manual_seed(int(time.time()))
            while True:
                yield torch.randint(0, 32, (SEQ_LEN,), generator=generator)

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.model = torch.nn.Sequential(torch.nn.Embedding(32, 32), torch.nn.Linear(32, 32))
            self.micro, self.zeroed = 0, 0

        def training_step(self, batch, batch_idx):
            self.micro += 1
            time.sleep(0.004)  # the work of a larger model
            return torch.nn.functional.cross_entropy(self.model(batch).flatten(0, 1), batch.flatten())

        def optimizer_zero_grad(self, *arguments):
            if self.micro > 1:  # called after the forward pass of an optimizer step's first one
                raise SystemExit("gradients zeroed at micro-batch %d" % self.micro)
            super().optimizer_zero_grad(*arguments)
            self.zeroed += 1

        def optimizer_step(self, epoch, batch_idx, optimizer, closure):
            super().optimizer_step(epoch, batch_idx, optimizer, closure)
            if (self.micro, self.zeroed) != (int(self.trainer.accumulate_grad_batches), 1):
                raise SystemExit("a step after %d micro-batches, zeroed %d times" % (self.micro, self.zeroed))
            self.micro, self.zeroed = 0, 0

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

        def train_dataloader(self):
            return torch.utils.data.DataLoader(Tokens(), batch_size=MICRO)

    output = os.path.join(folder, "out")
    boptop = BoptopCallback(os.path.join(folder, "live.jsonl"), micro_batch=MICRO, seq_len=SEQ_LEN,
                            tokens_end=TOKENS_END, poll_seconds=0.05)
    saver = ModelCheckpoint(output, every_n_train_steps=50, save_top_k=1, save_last=True,
                            monitor=None, enable_version_counter=False)
    trainer = Trainer(accelerator="cpu", devices=1, accumulate_grad_batches=ACCUMULATION, max_epochs=-1,
                      callbacks=[boptop, saver], logger=False, log_every_n_steps=1,
                      enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(Module(), ckpt_path=os.path.join(output, "last.ckpt") if checkpointed(folder) else None)


def checkpointed(folder):
    return os.path.exists(os.path.join(folder, "out", "last.ckpt"))


if __name__ == "__main__":
    if sys.argv[1] == "--train":
        train(sys.argv[3])
    else:
        require(["torch", "lightning"])
        drive(sys.argv[1], __file__, "lightning", checkpointed)
