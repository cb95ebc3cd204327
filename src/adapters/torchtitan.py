# boptop for torchtitan (read and run with 0.3.0): the batch size is changed through gradient
# accumulation, which Trainer.train_step reads afresh at every step. Save as boptop_torchtitan.py
# beside boptop_control.py (boptop adapter python), and start torchrun with a script of your own in
# place of `-m torchtitan.train`; the flags stay as they are:
#
#     from boptop_torchtitan import obey
#     from torchtitan.train import main
#     obey("runs/a.jsonl", tokens_end=10e9)
#     main()
#
# Learning rate: torchtitan's schedule counts optimizer steps and is built from training.steps before
# the first one. After a bump a step sees more tokens, so warmup and decay move in tokens: give
# training.steps for your starting batch size, stop by tokens_end, and keep the decay in a run of its
# own. lr_scale is not obeyed: `ready` says so, and boptop proposes none.
# Divisibility: a batch is a multiple of training.local_batch_size x data-parallel degree x
# training.seq_len; that is the unit in `ready`. Your own batch is training.global_batch_size.
# Position: tokens come from ntokens_seen, which torchtitan keeps in the checkpoint per rank: resume
# with the same data-parallel degree. Its data loader saves its own place, in micro-batches.
# Not for a trainer that replaces train_step (flux, graph_trainer, torchft). Run with one rank and
# with two replicas; sharded, context and pipeline parallelism were read in its sources, not run.
# Under pipeline parallelism rank 0 does not hold the loss: its lines then have none.
import torch.distributed as dist
from boptop_control import Control
from torchtitan.trainer import Trainer

class Hook:
    def __init__(self, trainer, metrics, tokens_end, options):
        config, dims = trainer.config.training, trainer.parallel_dims
        self.tokens_end, self.loss = tokens_end, None
        # ntokens_seen counts one rank's share of a batch.
        self.ranks = dims.get_mesh("loss").size() if dims.dp_cp_enabled else 1
        data = dims.get_mesh("batch").size() if dims.dp_enabled else 1
        self.unit = config.local_batch_size * config.seq_len * data
        self.control = None
        if dist.get_rank() == 0:
            own = self.unit * trainer.gradient_accumulation_steps
            self.control = Control(metrics, self.unit, own, **options)
            self.control.start(trainer.step - 1, self.tokens(trainer))
        log = trainer.metrics_processor.log
        def seen(step, global_avg_loss, *rest, **named):
            self.loss = float("nan") if dims.pp_enabled else global_avg_loss
            return log(step, global_avg_loss, *rest, **named)
        trainer.metrics_processor.log = seen

    def tokens(self, trainer):
        return trainer.ntokens_seen * self.ranks

    def step(self, trainer, train_step, data):
        # Rank 0 decides, all ranks act at this very step; train() has counted it already.
        before = self.tokens(trainer)
        order = [self.control.batch(trainer.step - 1, before)[0] if self.control else None]
        dist.broadcast_object_list(order, src=0)
        trainer.gradient_accumulation_steps = order[0] // self.unit
        lr = trainer.optimizers.optimizers[0].param_groups[0]["lr"]
        self.loss = None
        train_step(trainer, data)
        tokens = self.tokens(trainer)
        if self.control and self.loss is not None:  # torchtitan logged this step
            self.control.log(trainer.step, tokens, tokens - before, self.loss, float(lr))
        if tokens >= self.tokens_end:
            trainer.config.training.steps = trainer.step  # the last one: it is checkpointed as such
        if self.control and trainer.step >= trainer.config.training.steps:
            self.control.end(trainer.step, tokens)

def obey(metrics, tokens_end=float("inf"), **options):
    """Call once, on every rank, before torchtitan builds its trainer."""
    train_step = Trainer.train_step
    def steered(self, data_iterator):
        if not hasattr(self, "boptop"):  # the checkpoint is loaded by now
            self.boptop = Hook(self, metrics, tokens_end, options)
        self.boptop.step(self, train_step, data_iterator)
    Trainer.train_step = steered
