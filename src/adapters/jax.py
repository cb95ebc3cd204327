# boptop in a plain JAX loop with optax, one process or several. Save as boptop_jax.py (not jax.py)
# beside boptop_control.py (boptop adapter python). The batch size is changed by the number of
# micro-batches whose gradients are added up before one optimizer step.
#
# Learning rate: an optax schedule counts optimizer steps, so a bump would move warmup and decay in
# tokens. Here lr_at(tokens) is your own schedule, by tokens, times lr_scale (1 unless a person set
# it), and the optimizer takes the result as a number:
#     optimizer = optax.inject_hyperparams(optax.adamw)(learning_rate=0.0, weight_decay=0.1)
# Divisibility: a batch is a multiple of micro_batch x seq_len, which `ready` tells boptop as the
# unit; micro_batch counts rows over all devices, so it is itself a multiple of the data axis.
# Compilation: jit compiles once per shape. Here a micro-batch keeps its shape, so a bump compiles
# nothing. If your step is one jitted function of the whole batch (jax.lax.scan over micro-batches,
# or a larger micro_batch), each new batch size is a new shape and compiles once more, on every
# process at that step and again after a restart unless jax_compilation_cache_dir is set.
# Position: save `tokens` in the checkpoint and let the data resume by it, not by steps.
import jax
import jax.numpy as jnp
import optax
from boptop_control import Control
from jax.experimental import multihost_utils

def train(loss_fn, optimizer, params, opt_state, batches, lr_at, metrics, micro_batch, seq_len,
          own_batch_tokens, tokens_end, step=0, tokens=0, log_every=10, **options):
    """loss_fn(params, micro_batch) is a mean; batches yields micro-batches of one shape."""
    unit = micro_batch * seq_len
    control = None
    if jax.process_index() == 0:
        control = Control(metrics, unit_tokens=unit, own=own_batch_tokens, can_scale_lr=True, **options)
        control.start(step, tokens)

    @jax.jit
    def add(total, params, batch, share):  # total: (loss, gradients), kept in float32
        return jax.tree.map(lambda t, x: t + share * x, total, jax.value_and_grad(loss_fn)(params, batch))

    @jax.jit
    def update(gradients, params, opt_state, lr):
        gradients = jax.tree.map(lambda g, p: g.astype(p.dtype), gradients, params)
        opt_state = optax.tree_utils.tree_set(opt_state, learning_rate=lr)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    zero = jnp.zeros((), jnp.float32), jax.tree.map(lambda p: jnp.zeros_like(p, jnp.float32), params)
    while tokens < tokens_end:
        # Process 0 decides, all processes act at this very step.
        batch, lr_scale = control.batch(step, tokens) if control else (0, 1.0)
        order = jnp.array([batch // unit, lr_scale], jnp.float32)
        if jax.process_count() > 1:
            order = multihost_utils.broadcast_one_to_all(order)
        accumulation, lr = int(order[0]), lr_at(tokens) * float(order[1])
        total = zero
        for _ in range(accumulation):
            # The mean over the whole batch: each micro-batch counts for one part of it.
            total = add(total, params, next(batches), jnp.float32(1 / accumulation))
        params, opt_state = update(total[1], params, opt_state, jnp.float32(lr))
        step, tokens = step + 1, tokens + accumulation * unit
        if control and step % log_every == 0:
            control.log(step, tokens, accumulation * unit, total[0], lr)
    if control:
        control.end(step, tokens)
    return params, opt_state, step, tokens
