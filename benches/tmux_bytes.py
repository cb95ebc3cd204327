"""Bytes that reach the terminal of a person: boptop's own, and those of `tmux attach` around it.

    python3 benches/tmux_bytes.py [target/release/boptop]

Sixteen runs of a sweep in a temporary directory grow by a line a second each; the overview at
200x60 in 24-bit colour, once in a pseudo-terminal of its own and once in tmux, whose client has the
pseudo-terminal. Counted over 60 s once the screen stands; then nothing is written any more, and once
the runs have been seen to be quiet it is counted over 60 s again: what is left are their ages. The
status line of tmux is off. Standard library and tmux.
"""

import fcntl
import math
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time

RUNS, ROWS, COLUMNS = 16, 60, 200
BEFORE, SETTLE, LIVE, QUIET, IDLE = 2000, 15, 60, 100, 60


def line(run, step):
    batch = 256 << (run % 8)
    noise = 0.01 * math.sin(step * 12.9898 + run)
    loss = 1.9 + 60 * step**-0.6 + 2 * batch**-0.4 + noise
    now = time.time()
    return (
        f'{{"step":{step},"tokens":{step * batch},"batch_size":{batch},"loss":{loss:.5f},'
        f'"lr":2e-3,"time":{now:.2f}}}\n'
    )


class Runs:
    def __init__(self, folder):
        self.files = [open(f"{folder}/run{r:02}.jsonl", "a", buffering=1) for r in range(RUNS)]
        self.step = 0
        for _ in range(BEFORE):
            self.grow()

    def grow(self):
        self.step += 1
        for run, file in enumerate(self.files):
            file.write(line(run, self.step))


def start(command):
    """The command on a terminal of its own: (pid, file descriptor)."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
        os.environ.pop("TMUX", None)
        os.execvp(command[0], command)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    return pid, fd


def watch(fds, seconds, each):
    """Bytes that came from each, `each` being called once a second."""
    counts = dict.fromkeys(fds, 0)
    begin = time.monotonic()
    second = 0
    while (passed := time.monotonic() - begin) < seconds:
        if passed >= second:
            each()
            second += 1
        ready, _, _ = select.select(fds, [], [], max(0.0, begin + second - time.monotonic()))
        for fd in ready:
            counts[fd] += len(os.read(fd, 1 << 16))
    return counts


def main():
    boptop = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/release/boptop")
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(folder)
        tmux = ["tmux", "-L", f"boptop-bytes-{os.getpid()}", "-f", "/dev/null"]
        inside = [boptop, "--no-config", folder]
        session = ["new-session", "-x", str(COLUMNS), "-y", str(ROWS), *inside]
        options = [";", "set", "-g", "status", "off"]
        overrides = [";", "set", "-ga", "terminal-overrides", ",xterm-256color:Tc"]
        alone = start(inside)
        client = start([*tmux, *session, *options, *overrides])
        names = {alone[1]: "boptop on a terminal", client[1]: "the same in tmux, at its client"}
        fds = list(names)
        try:
            watch(fds, SETTLE, runs.grow)
            live = watch(fds, LIVE, runs.grow)
            watch(fds, QUIET, lambda: None)
            idle = watch(fds, IDLE, lambda: None)
        finally:
            subprocess.run([*tmux, "kill-server"], check=False)
            os.write(alone[1], b"q")
        print(f"{'':<34} {'live, bytes/s':>14} {'idle, bytes/s':>14}")
        for fd, name in names.items():
            print(f"{name:<34} {live[fd] / LIVE:>14.0f} {idle[fd] / IDLE:>14.0f}")


if __name__ == "__main__":
    main()
