#!/usr/bin/env python3
"""The printed JAX adapter against the real packages, on the CPU.

Not part of `cargo test`: it needs jax and optax.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install jax optax
    cargo build
    /tmp/venv/bin/python tests/scripts/jax_adapter.py target/debug/boptop

Beside what adapter_site.py checks: the loss is traced once per process, so a change of the batch
size compiled nothing. Exit code 0: all as ordered.
"""
import os
import sys
import time

from adapter_site import MICRO, OWN, SEQ_LEN, TOKENS_END, drive, require, twenty_lines_back


def train(folder):
    os.environ["JAX_PLATFORMS"] = "cpu"
    import boptop_jax
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    key = jax.random.key(1)
    params = {"embed": jax.random.normal(key, (32, 32)), "head": jnp.zeros((32, 32))}
    optimizer = optax.inject_hyperparams(optax.adamw)(learning_rate=0.0, weight_decay=0.0)
    traces = []

    def loss_fn(params, batch):
        traces.append(batch.shape)
        if len(traces) > 1:
            raise SystemExit("traced again: %s" % traces)
        logits = params["embed"][batch] @ params["head"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch).mean()

    def batches():
        random = np.random.default_rng(int(time.time()))
        while True:
            time.sleep(0.004)  # the work of a larger model
            yield jnp.asarray(random.integers(0, 32, (MICRO, SEQ_LEN)))

    step, tokens = twenty_lines_back(folder)  # the weights do not matter here
    boptop_jax.train(
        loss_fn, optimizer, params, optimizer.init(params), batches(), lambda tokens: 1e-3,
        os.path.join(folder, "live.jsonl"), MICRO, SEQ_LEN, OWN, TOKENS_END, step=step,
        tokens=tokens, log_every=1, poll_seconds=0.05)


if __name__ == "__main__":
    if sys.argv[1] == "--train":
        train(sys.argv[3])
    else:
        require(["jax", "optax"])
        drive(sys.argv[1], __file__, "jax")
