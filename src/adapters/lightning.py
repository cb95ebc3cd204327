# boptop for PyTorch Lightning (lightning 2.x): the batch size is changed through gradient
# accumulation. Save as boptop_lightning.py beside boptop_control.py (boptop adapter python).
#
#     from boptop_lightning import BoptopCallback
#     boptop = BoptopCallback("runs/a.jsonl", micro_batch=8, seq_len=2048, tokens_end=10e9)
#     Trainer(accumulate_grad_batches=16, max_epochs=-1, callbacks=[boptop, ...], ...)
#
# Learning rate: a scheduler with interval "step" advances once per optimizer step. After a bump a
# step sees more tokens, so warmup and decay given in steps move in tokens: write the schedule as a
# function of this callback's `tokens`, or keep the decay in a run of its own. Do not size it by
# trainer.estimated_stepping_batches, which assumes that the accumulation stays as it was. lr_scale
# is not obeyed: `ready` says so, and boptop proposes none.
# Divisibility: a batch is a multiple of micro_batch x world_size x seq_len (micro_batch: rows per
# rank that the data loader yields; packed sequences of one length); that is the unit in `ready`.
# Position: the tokens are in the checkpoint, with the callback's state; Lightning does not move the
# data, so let the data set resume by them. The last step of an epoch takes the micro-batches that
# are left; a streaming data set has no such step. val_check_interval counts micro-batches.
# Automatic optimization only; not with GradientAccumulationScheduler (two would set one number), and
# not for DeepSpeed, which fixes the accumulation in its own configuration.
from boptop_control import Control
from lightning.pytorch.callbacks import Callback

class Accumulation(int):
    """Gradient accumulation counted from the micro-batch at which it was changed."""
    def __new__(cls, micro_batches, base):
        self = super().__new__(cls, micro_batches)
        self.base = base
        return self
    def __rmod__(self, micro):  # Lightning steps where (micro-batches so far) % accumulation == 0
        return (micro - self.base) % int(self)
    def __reduce__(self):
        return int, (int(self),)

class BoptopCallback(Callback):
    def __init__(self, metrics, micro_batch, seq_len, tokens_end, **options):
        self.metrics, self.rows, self.tokens_end, self.options = metrics, micro_batch * seq_len, tokens_end, options
        self.tokens, self.micro, self.total, self.control = 0, 0, 0.0, None

    def state_dict(self):
        return {"tokens": self.tokens}

    def load_state_dict(self, state):
        self.tokens = state["tokens"]

    def on_train_start(self, trainer, module):
        if not module.automatic_optimization:
            raise RuntimeError("boptop changes accumulate_grad_batches: automatic optimization only")
        self.unit, self.step = self.rows * trainer.world_size, trainer.global_step
        if trainer.is_global_zero:
            own = self.unit * int(trainer.accumulate_grad_batches)
            self.control = Control(self.metrics, self.unit, own, **self.options)
            self.control.start(self.step, self.tokens)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if self.micro:
            return
        # The first micro-batch of an optimizer step: rank 0 says, all ranks act.
        size = self.control.batch(self.step, self.tokens)[0] if self.control else None
        size = trainer.strategy.broadcast(size)
        trainer.accumulate_grad_batches = Accumulation(size // self.unit, batch_idx)
        self.lr = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        # Lightning gives the loss divided by the accumulation: the sum is the mean of the batch.
        self.micro, self.total = self.micro + 1, self.total + outputs["loss"].detach()
        if trainer.global_step == self.step:
            return
        size = self.micro * self.unit  # fewer in the last step of an epoch
        self.step, self.tokens = trainer.global_step, self.tokens + size
        if self.step % trainer.log_every_n_steps == 0:
            loss = trainer.strategy.reduce(self.total, reduce_op="mean")
            if self.control:
                self.control.log(self.step, self.tokens, size, loss, self.lr)
        self.micro, self.total = 0, 0.0
        if self.tokens >= self.tokens_end:
            trainer.should_stop = True

    def on_train_end(self, trainer, module):
        if self.control:
            self.control.end(self.step, self.tokens)
