# boptop for the Hugging Face Trainer (transformers 4.46 or newer): the batch size is changed through
# gradient accumulation. Save as boptop_hf.py beside boptop_control.py (boptop adapter python).
#
#     from boptop_hf import BoptopCallback
#     args = TrainingArguments(..., ignore_data_skip=True, logging_strategy="steps")
#     trainer = Trainer(model, args, ...)
#     trainer.add_callback(BoptopCallback(trainer, "runs/a.jsonl", seq_len=2048, tokens_end=10e9))
#
# Learning rate: the Trainer's schedule counts optimizer steps, and max_steps is fixed before the
# first one. After a bump a step sees more tokens, so warmup and decay move in tokens: give max_steps
# for your starting batch size (max_steps x batch above tokens_end, or the Trainer cuts a batch in
# two where it expects an epoch to end), stop by tokens_end, and keep the decay in a run of its own
# or in a schedule of yours that asks this callback for its `tokens`. lr_scale is not obeyed:
# `ready` says so, and boptop proposes none.
# Divisibility: a batch is a multiple of per_device_train_batch_size x world_size x seq_len (packed
# sequences of one length); that is the unit in `ready`.
# Position: a resume skips steps x accumulation batches, which is wrong once that has changed, hence
# ignore_data_skip=True: let the data set resume by `tokens`. With a data set that has a length, a
# smaller batch ends the epoch early; a streaming one with max_steps has no such limit.
# Not for DeepSpeed, which fixes the accumulation in its own configuration.
import json, os
import torch.distributed as dist
from boptop_control import Control
from transformers import TrainerCallback

class Accumulation(int):
    """Gradient accumulation counted from the micro-batch at which it was changed."""
    def __new__(cls, steps, base=0):
        self = super().__new__(cls, steps)
        self.base = base
        return self
    def __rmod__(self, micro):  # the Trainer syncs where (micro-batches so far) % accumulation == 0
        return (micro - self.base) % int(self)
    def __reduce__(self):  # saved with the arguments as a plain number
        return int, (int(self),)

class BoptopCallback(TrainerCallback):
    def __init__(self, trainer, metrics, seq_len, tokens_end, **options):
        args = trainer.args
        self.trainer, self.tokens_end, self.tokens, self.micro = trainer, tokens_end, 0, 0
        self.unit = args.per_device_train_batch_size * args.world_size * seq_len
        own = self.own = self.unit * int(args.gradient_accumulation_steps)
        self.control = Control(metrics, self.unit, own, **options) if args.process_index == 0 else None

    def on_train_begin(self, args, state, control, **kwargs):
        if state.max_steps * self.own <= self.tokens_end:
            raise ValueError("max_steps x %d tokens must lie above tokens_end" % self.own)
        if state.global_step:
            with open(self.memory(args, state)) as f: self.tokens = json.load(f)["tokens"]
        if self.control: self.control.start(state.global_step, self.tokens)

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.micro = 0
        self.decide(args, state)

    def on_step_end(self, args, state, control, **kwargs):
        done = self.trainer.current_gradient_accumulation_steps  # fewer in the last step of an epoch
        self.micro, self.tokens = self.micro + done, self.tokens + done * self.unit
        self.size = done * self.unit
        if self.tokens >= self.tokens_end: control.should_training_stop = True
        else: self.decide(args, state)

    def decide(self, args, state):  # for the next step: rank 0 says, all ranks act
        order = [self.control.batch(state.global_step, self.tokens)[0] if self.control else None]
        if dist.is_available() and dist.is_initialized(): dist.broadcast_object_list(order, src=0)
        args.gradient_accumulation_steps = Accumulation(order[0] // self.unit, self.micro)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if self.control and logs and "loss" in logs:
            lr = logs.get("learning_rate", float("nan"))
            self.control.log(state.global_step, self.tokens, self.size, logs["loss"], lr)

    def on_save(self, args, state, control, **kwargs):
        if self.control:
            with open(self.memory(args, state), "w") as f: json.dump({"tokens": self.tokens}, f)

    def on_train_end(self, args, state, control, **kwargs):
        if self.control: self.control.end(state.global_step, self.tokens)

    def memory(self, args, state):
        return os.path.join(args.output_dir, "checkpoint-%d" % state.global_step, "boptop_tokens.json")
