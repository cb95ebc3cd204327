"""What the adapter scripts of this folder share: a trainer in a process of its own, and the person.

A script starts its tiny trainer through `Site`; boptop raises its batch size, the process is killed,
goes on from an earlier point, and the change is undone. Then every line of the metrics is held
against the schedules in the acknowledgements.
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
BUMPED = UNIT * 5  # no multiple of what it was: a change counted from the wrong place shows
TOKENS_END = 400_000


def twenty_lines_back(folder):
    """(step, tokens) of an older point of the run: stands for an older checkpoint."""
    try:
        with open(os.path.join(folder, "live.jsonl")) as f:
            older = [json.loads(line) for line in f if line.endswith("\n")][-20]
    except (FileNotFoundError, IndexError):
        return 0, 0
    return older["step"], older["tokens"]


def require(packages):
    missing = [p for p in packages if importlib.util.find_spec(p) is None]
    if missing:
        sys.exit("not run: %s is not installed" % ", ".join(missing))


class Site:
    """A folder with the printed adapters, and a trainer: SCRIPT --train KIND FOLDER."""

    def __init__(self, boptop, script, kind, folder, lead):
        self.boptop, self.script, self.kind, self.folder = boptop, script, kind, folder
        self.lead, self.process = lead, None
        for adapter, name in (("python", "control"), (kind, kind)):
            text = subprocess.run([boptop, "adapter", adapter], check=True, capture_output=True)
            with open(os.path.join(folder, "boptop_%s.py" % name), "wb") as f:
                f.write(text.stdout)

    def start(self):
        environment = dict(os.environ, PYTHONPATH=self.folder, PYTHONDONTWRITEBYTECODE="1")
        for name in ("BOPTOP_CONTROL", "SLURM_JOB_ID"):
            environment.pop(name, None)
        log = open(os.path.join(self.folder, "out.log"), "ab")
        self.process = subprocess.Popen(
            [sys.executable, self.script, "--train", self.kind, self.folder], env=environment,
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
             "--lead", self.lead, "--json", *words[1:]], capture_output=True, text=True)
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


def drive(boptop, script, kind, checkpointed=None, lead="0.3"):
    """One bump, a kill, a resume from an earlier point, an undo; then every line is checked."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(os.path.abspath(boptop), os.path.abspath(script), kind, folder, lead)
        site.start()
        try:
            site.until("metrics", lambda: len(site.lines("jsonl")) > 30)
            assert site.control("approve", "--batch-size", str(BUMPED), "--yes", *OVERRIDES)["wrote"]
            site.until_applied(1)
            if checkpointed:
                site.until("a checkpoint", lambda: checkpointed(folder))
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
