# boptop for the Hugging Face Trainer (transformers, also under accelerate): the batch size is
# changed through gradient accumulation. Needs boptop_control.py (boptop adapter python) beside it.
#
#     from boptop_hf import BoptopCallback
#     trainer.add_callback(BoptopCallback(trainer, "runs/a.jsonl", seq_len=2048))
#
# Learning rate: the Trainer's schedule counts optimizer steps, and max_steps is computed before
# the first one. After a bump each step sees more tokens, so warmup and decay come later in tokens:
# train to a token budget (tokens_end below stops there) and keep the stable phase ahead of a bump.
# lr_scale is not obeyed (can_scale_lr stays False), so boptop will not propose it.
# Divisibility: a batch is a whole number of micro-batches over all ranks, so a multiple of
# per_device_train_batch_size x world_size x seq_len; boptop reads that unit from `ready`.
# Position: the number of micro-batches in an epoch does not change, the number of steps does. On
# resume the Trainer skips steps x gradient_accumulation_steps batches: with a schedule in force
# that is wrong after a bump, so pass ignore_data_skip=True and let your data set skip by tokens.
# The last, shorter accumulation of an epoch is counted as a whole one here: use one epoch, or
# drop the rest of it (dataloader_drop_last=True and a data set that never ends is best).
import json, os
from boptop_control import Control
from transformers import TrainerCallback

class BoptopCallback(TrainerCallback):
    def __init__(self, trainer, metrics, seq_len, tokens_end=None, **control):
        self.trainer, self.metrics, self.tokens_end = trainer, metrics, tokens_end
        args = trainer.args
        self.unit = args.per_device_train_batch_size * args.world_size * seq_len
        self.tokens, self.size = 0, self.unit * args.gradient_accumulation_steps
        self.control = Control(metrics, self.unit, self.size, **control) if args.process_index == 0 else None

    def on_train_begin(self, args, state, control, **kwargs):
        path = os.path.join(state.best_model_checkpoint or args.output_dir, "boptop_tokens.json")
        if state.global_step:  # resumed: tokens are kept beside the checkpoints, by step
            with open(os.path.join(args.output_dir, "boptop_tokens.json")) as f:
                self.tokens = json.load(f)[str(state.global_step)]
        if self.control: self.control.start(state.global_step, self.tokens)

    def on_step_begin(self, args, state, control, **kwargs):
        size = self.control.batch(state.global_step, self.tokens)[0] if self.control else None
        self.size = broadcast(size)
        args.gradient_accumulation_steps = self.size // self.unit
        self.trainer.accelerator.gradient_accumulation_steps = args.gradient_accumulation_steps

    def on_step_end(self, args, state, control, **kwargs):
        self.tokens += self.size
        if self.tokens_end and self.tokens >= self.tokens_end: control.should_training_stop = True

    def on_log(self, args, state, control, logs=None, **kwargs):
        if self.control and logs and "loss" in logs:
            lr = logs.get("learning_rate", float("nan"))
            self.control.log(state.global_step, self.tokens, self.size, logs["loss"], lr)
