# boptop in a plain PyTorch loop, one process or torchrun. Needs boptop_control.py beside it
# (boptop adapter python). The batch size is changed through gradient accumulation.
#
# Learning rate: lr_at(tokens) is your own schedule, by tokens, so that warmup and decay stay where
# they are whatever the batch size does; lr_scale (1 unless a person set it) multiplies it.
# Divisibility: a batch is a whole number of micro-batches over all ranks, so a multiple of
# micro_batch * world * seq_len, which `ready` tells boptop as the unit.
# Position: save `tokens` in the checkpoint and let the data loader resume by it, not by steps.
import torch
import torch.distributed as dist
from boptop_control import Control

def train(model, optimizer, loader, lr_at, metrics, micro_batch, seq_len, own_batch_tokens,
          tokens_end, step=0, tokens=0, log_every=10):
    world = dist.get_world_size() if dist.is_initialized() else 1
    rank = dist.get_rank() if dist.is_initialized() else 0
    unit = micro_batch * world * seq_len
    control = None
    if rank == 0:
        control = Control(metrics, unit_tokens=unit, own=own_batch_tokens, can_scale_lr=True)
        control.start(step, tokens)
    while tokens < tokens_end:
        # Rank 0 decides, all ranks act at this very step.
        order = [control.batch(step, tokens) if rank == 0 else None]
        if world > 1:
            dist.broadcast_object_list(order, src=0)
        batch, lr_scale = order[0]
        accumulation = batch // unit
        for group in optimizer.param_groups:
            group["lr"] = lr_at(tokens) * lr_scale
        total = 0.0
        for _ in range(accumulation):
            x, y = next(loader)
            # The mean over the whole batch: each micro-batch counts for one part of it. Under
            # DistributedDataParallel wrap all but the last in model.no_sync() to save traffic.
            loss = torch.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
            (loss / accumulation).backward()
            total += loss.detach() / accumulation
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step, tokens = step + 1, tokens + batch
        if step % log_every == 0:
            if world > 1:
                dist.all_reduce(total, op=dist.ReduceOp.AVG)
            if rank == 0:
                control.log(step, tokens, batch, float(total), lr_at(tokens) * lr_scale)
    if rank == 0:
        control.end(step, tokens)
