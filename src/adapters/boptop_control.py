# boptop control, version 1: lets a trainer obey NAME.control.json beside its metrics NAME.jsonl.
# Standard library only, Python 3.8 or newer. Save as boptop_control.py. On rank 0:
#     c = Control("runs/a.jsonl", unit_tokens=micro_batch * data_parallel * seq_len, own=2097152)
#     c.start(step, tokens)                      # before the first step, and after each resume
#     batch, lr_scale = c.batch(step, tokens)    # before each step: broadcast both to all ranks
#     c.log(step, tokens, batch, loss, lr)       # after each step, or every few
#     c.end(step, tokens)                        # at a clean exit; a signal needs nothing
# batch: tokens per optimizer step, a multiple of unit_tokens; own: yours, or a function of tokens.
# `tokens` is cumulative: add each step's batch, never recompute it from the present batch size.
# Learning rate: multiply your schedule by lr_scale (1 unless a person set it) and say so with
# can_scale_lr=True, or leave it. Schedule warmup and decay by tokens: in steps, both shift.
import json, os, socket, time
class Control:
    def __init__(self, metrics, unit_tokens, own, run=None, min_batch=None, max_batch=None, direction="both",
                 can_scale_lr=False, poll_seconds=5.0, control=None):
        folder, name = os.path.split(metrics)
        name = name[:-6] if name.endswith(".jsonl") else name
        path = control or os.environ.get("BOPTOP_CONTROL") or os.path.join(folder, name + ".control.json")
        self.metrics, self.run, self.path = metrics, run or name, path.replace("{run}", name)
        self.ack = (self.path[:-5] if self.path.endswith(".json") else self.path) + ".ack.jsonl"
        self.unit, self.min, self.max, self.up = int(unit_tokens), min_batch, max_batch, direction == "up"
        self.can_scale_lr, self.every, self.own = can_scale_lr, poll_seconds, own if callable(own) else lambda t: own

    def start(self, step, tokens):  # the ack file is the memory: a checkpoint needs to know nothing
        lines = [parse(line) for line in read(self.ack).split(b"\n")]
        answers = [a for a in lines if a.get("status") in ("accepted", "rejected") and whole(a.get("revision"))]
        self.judged = max([whole(a["revision"]) for a in answers], default=0)
        top = max([whole(a["revision"]) for a in answers if a["status"] == "accepted"], default=None)
        last = ([a for a in answers if whole(a["revision"]) == top] or [{}])[-1]
        kept = entries(last.get("schedule")) if last.get("status") == "accepted" else None
        reason, self.told, self.next_poll = self.misfit(kept, None, tokens) if kept else None, set(), 0.0
        self.revision, self.schedule = (top, kept) if kept and not reason else (None, [])
        job = os.environ.get("SLURM_JOB_ID") or "%s.%d" % (socket.gethostname(), os.getpid())
        self.attempt = "%s.%d" % (job, sum(a.get("status") == "ready" for a in lines))
        self.say("ready", self.revision, step, tokens, unit_tokens=self.unit, min_batch_tokens=self.min,
                 max_batch_tokens=self.max, direction="up" if self.up else "both", can_scale_lr=self.can_scale_lr)
        if reason: self.say("rejected", top, step, tokens, reason=reason[0], detail=reason[1])  # for good

    def batch(self, step, tokens):
        if time.monotonic() >= self.next_poll:
            self.poll(step, tokens)
            self.next_poll = time.monotonic() + self.every
        e, (size, scale) = at(self.schedule, tokens), self.now(tokens)
        key = (self.revision, e["from_tokens"], size) if e else (None, None, size)
        if key not in self.told and self.say("applied", key[0], step, tokens, from_tokens=key[1]): self.told.add(key)
        return size, scale

    def log(self, step, tokens, batch_size, loss, lr):
        loss, lr = [x if number(x) else None for x in (float(loss), float(lr))]
        append(self.metrics, dict(step=step, tokens=tokens, batch_size_tokens=batch_size, loss=loss, lr=lr,
                                  control_revision=self.revision, time=time.time()), sync=False)
    def end(self, step, tokens): self.say("ended", self.revision, step, tokens)
    def now(self, tokens):  # batch size and lr_scale of a step that starts here
        e = at(self.schedule, tokens)
        return (e["batch_size_tokens"], e["lr_scale"]) if e else (int(self.own(tokens)), 1.0)
    def poll(self, step, tokens):
        c = parse(read(self.path))
        revision, schedule = whole(c.get("revision")), entries(c.get("schedule"))
        if not revision or revision <= self.judged: return  # garbage, torn, gone, old: nothing new
        reason = self.judge(c, schedule, tokens)
        extra = dict(reason=reason[0], detail=reason[1]) if reason else dict(schedule=schedule)
        if not self.say("rejected" if reason else "accepted", revision, step, tokens, **extra): return
        self.judged = revision  # what could not be recorded was not judged: it is tried again
        if not reason: self.revision, self.schedule = revision, schedule
    def judge(self, c, s, tokens):  # a reason against it (code, words), in the order of the codes
        size, (expect, limit) = self.now(tokens)[0], [
            (c.get(a) or {}).get(b) if isinstance(c.get(a) or {}, dict) else False
            for a, b in (("expect", "batch_size_tokens"), ("not_after", "tokens"))]
        if whole(c.get("version")) != 1: return "version", "this trainer knows version 1"
        if c.get("run") != self.run: return "wrong_run", "this run is " + self.run
        if not s or any(whole(x) is None for x in (expect, limit) if x not in (None, {})): return "schedule", "malformed"
        if whole(expect) not in (None, size): return "expect", "the next step has %d" % size
        if whole(limit) is not None and tokens > limit: return "expired", "at %d tokens" % tokens
        return self.misfit(s, size, tokens)
    def misfit(self, s, size, tokens):  # against it: entries that can still act
        acting = [e for e in [at(s, tokens)] if e] + [e for e in s if e["from_tokens"] > tokens]
        sizes = [e["batch_size_tokens"] for e in acting]
        way = [b for b in [size, None if at(s, tokens) else int(self.own(tokens))] + sizes if b]
        if any(b % self.unit for b in sizes): return "not_divisible", "the unit is %d" % self.unit
        if any(not (self.min or 0) <= b <= (self.max or b) for b in sizes): return "limit", "outside of the limits"
        if self.up and any(b < a for a, b in zip(way, way[1:])): return "direction", "up only"
        if not self.can_scale_lr and any(e["lr_scale"] != 1 for e in acting): return "lr_scale", "cannot scale"

    def say(self, status, revision, step, tokens, **extra):
        size, scale = self.now(tokens)
        return append(self.ack, dict(dict(
            version=1, status=status, run=self.run, attempt=self.attempt, revision=revision, step=step, tokens=tokens,
            batch_size_tokens=size, lr_scale=scale, from_tokens=None, reason=None, detail=None,
            time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())), **extra), sync=True)
def parse(text):  # an object, empty for anything else
    try: o = json.loads(text)
    except (ValueError, RecursionError): return {}
    return o if isinstance(o, dict) else {}
def read(path):  # lists the directory first (NFS then sees a new file), opens afresh every time
    try:
        if os.path.basename(path) in os.listdir(os.path.dirname(path) or "."):
            with open(path, "rb") as f: return f.read()
    except OSError: pass
    return b""
def whole(x):  # 4190000 and 4.19e6; None for anything else
    return int(x) if number(x) and x >= 0 and x == int(x) else None
def number(x): return isinstance(x, (int, float)) and not isinstance(x, bool) and -2**63 < x < 2**63
def entries(s):  # a schedule with every lr_scale filled in; None where it is malformed
    out = []
    for e in s if isinstance(s, list) and s else [None]:
        t, b, x = map((e if isinstance(e, dict) else {}).get, ("from_tokens", "batch_size_tokens", "lr_scale"))
        t, b, x = whole(t), whole(b), 1.0 if x is None or x == {} else x
        if t is None or not b or not number(x) or x <= 0 or (out and t <= out[-1]["from_tokens"]): return None
        out.append(dict(from_tokens=t, batch_size_tokens=b, lr_scale=float(x)))
    return out
def at(schedule, tokens): return ([e for e in schedule if e["from_tokens"] <= tokens] or [None])[-1]
def append(path, line, sync):  # one write, begun with a newline where the file does not end in one
    try:
        with open(path, "ab+", buffering=0) as f:
            torn = f.seek(0, 2) and os.pread(f.fileno(), 1, f.tell() - 1) != b"\n"
            data = (b"\n" if torn else b"") + json.dumps(line).encode() + b"\n"
            return f.write(data) == len(data) and (not sync or os.fsync(f.fileno()) is None)
    except OSError: return False
