//! The jobs of the demo on their threads, paced by the clock. The only file here that reads it.

use super::job::{Job, JobSpec, STEERED, TWIN, metrics_path, specs};
use super::problem::Problem;
use super::writer::Moment;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// How often a job looks at its control file.
const POLL: Duration = Duration::from_millis(100);
/// After a pause of the whole process (Ctrl-Z) the jobs go on at their pace instead of catching
/// up: no stretch of time counts for more than this.
const LONGEST_STRETCH: Duration = Duration::from_millis(250);
/// A job that is due goes on for this many tokens (a millisecond), so that its tables stay in the
/// cache.
const STRIDE_TOKENS: u64 = 65_536;
/// The demo leaves the other cores to the machine and its own CPU time to the monitor.
const MAX_THREADS: usize = 2;

/// How to run the demo.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoOptions {
    /// Each job writes to a directory of its own in here.
    pub dir: PathBuf,
    /// Fixes the data of every job.
    pub seed: u64,
    /// 1: the steered run takes 46 seconds. `f64::INFINITY`: as fast as it goes.
    pub pace: f64,
}

/// The running jobs. Dropping it stops them.
#[derive(Debug)]
pub struct Demo {
    dir: PathBuf,
    specs: Vec<JobSpec>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads and their owner share.
#[derive(Debug)]
struct Shared {
    stop: Mutex<bool>,
    wake: Condvar,
    running: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Demo {
    /// Starts every job. When this returns, all of them have said `ready`.
    ///
    /// # Errors
    /// `Error::Usage` if the pace is not above 0 or the directory holds runs of an earlier demo;
    /// `Error::Io` where something cannot be written.
    pub fn start(options: DemoOptions) -> Result<Demo> {
        let specs = specs(options.seed);
        Demo::start_jobs(options, specs)
    }

    fn start_jobs(options: DemoOptions, specs: Vec<JobSpec>) -> Result<Demo> {
        if options.pace.is_nan() || options.pace <= 0.0 {
            return Err(Error::Usage(format!("pace {}: must be above 0", options.pace)));
        }
        if let Some(old) =
            specs.iter().map(|s| metrics_path(&options.dir, &s.run)).find(|p| p.exists())
        {
            return Err(Error::Usage(format!(
                "{} is from an earlier demo; name a new directory",
                old.display()
            )));
        }
        let problem = Arc::new(Problem::new(options.seed));
        let attempt = attempt_name();
        let jobs: Vec<Job> = specs
            .iter()
            .map(|s| Job::start(s.clone(), &problem, &options.dir, &attempt, now()))
            .collect::<Result<_>>()?;
        let shared = Arc::new(Shared {
            stop: Mutex::new(false),
            wake: Condvar::new(),
            running: AtomicUsize::new(jobs.len()),
            failures: Mutex::new(Vec::new()),
        });
        let mut demo = Demo { dir: options.dir, specs, shared, threads: Vec::new() };
        for (k, jobs) in share_out(jobs).into_iter().enumerate() {
            let shared = Arc::clone(&demo.shared);
            let thread = std::thread::Builder::new()
                .name(format!("demo-{k}"))
                .spawn(move || Worker { jobs, shared, pace: options.pace }.run())
                .map_err(|e| Error::io("a thread for the demo", e))?;
            demo.threads.push(thread);
        }
        Ok(demo)
    }

    /// The directory that holds the runs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ids of the runs, which are the names of their directories; the steered one first.
    pub fn run_ids(&self) -> Vec<&str> {
        self.specs.iter().map(|s| s.run.as_str()).collect()
    }

    /// The metrics files, in the order of [`Demo::run_ids`].
    pub fn metrics_paths(&self) -> Vec<PathBuf> {
        self.specs.iter().map(|s| metrics_path(&self.dir, &s.run)).collect()
    }

    /// What each job trains.
    pub fn specs(&self) -> &[JobSpec] {
        &self.specs
    }

    /// Id of the run to steer.
    pub fn steered(&self) -> &str {
        STEERED
    }

    /// Tokens that the steered run may consume, and its twin.
    pub fn budget_tokens(&self) -> u64 {
        self.specs.first().map_or(0, |s| s.budget_tokens)
    }

    /// Id of the run with the same samples that is left alone.
    pub fn twin(&self) -> &str {
        TWIN
    }

    /// Every job has spent its budget, failed or was stopped.
    pub fn is_done(&self) -> bool {
        self.shared.running.load(Ordering::Acquire) == 0
    }

    /// What went wrong in the jobs, in words; a failed job trains no more.
    pub fn failures(&self) -> Vec<String> {
        lock(&self.shared.failures).clone()
    }

    /// Stops every job (each writes its last line and says `ended`) and waits for them.
    pub fn stop(mut self) {
        self.halt();
    }

    /// Waits until every job has spent its budget.
    pub fn join(mut self) -> Vec<String> {
        self.threads.drain(..).for_each(|t| drop(t.join()));
        self.failures()
    }

    fn halt(&mut self) {
        *lock(&self.shared.stop) = true;
        self.shared.wake.notify_all();
        self.threads.drain(..).for_each(|t| drop(t.join()));
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.halt();
    }
}

/// The jobs of one thread: always the one that is furthest behind its pace.
struct Worker {
    jobs: Vec<Job>,
    shared: Arc<Shared>,
    pace: f64,
}

impl Worker {
    fn run(mut self) {
        let mut before = Instant::now();
        let mut polled = before;
        // Seconds of demo time since the start.
        let mut clock = 0.0;
        while !*lock(&self.shared.stop) {
            let instant = Instant::now();
            clock += (instant - before).min(LONGEST_STRETCH).as_secs_f64() * self.pace;
            before = instant;
            if instant - polled >= POLL {
                polled = instant;
                self.jobs.iter_mut().for_each(|j| j.poll(now()));
            }
            let Some((k, due)) = self.furthest_behind() else { break };
            if due <= clock || self.pace.is_infinite() {
                self.step(k);
            } else {
                self.wait(Duration::from_secs_f64((due - clock) / self.pace).min(POLL));
            }
        }
        for job in std::mem::take(&mut self.jobs) {
            self.end(job);
        }
    }

    /// The next job to step and the demo time at which its step is due.
    fn furthest_behind(&self) -> Option<(usize, f64)> {
        let due = |j: &Job| j.tokens() as f64 / j.spec().tokens_per_second;
        let times = self.jobs.iter().map(due).enumerate();
        times.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn step(&mut self, k: usize) {
        let job = &mut self.jobs[k];
        let stride = job.tokens() + STRIDE_TOKENS;
        let mut stepped = Ok(());
        while stepped.is_ok() && job.tokens() < stride && !job.is_done() {
            stepped = job.step(now());
        }
        if let Err(error) = stepped {
            let job = self.jobs.swap_remove(k);
            self.shared.fail(job.spec(), &error);
        } else if job.is_done() {
            let job = self.jobs.swap_remove(k);
            self.end(job);
        }
    }

    fn end(&self, job: Job) {
        let spec = job.spec().clone();
        match job.end(now()) {
            Ok(()) => drop(self.shared.running.fetch_sub(1, Ordering::AcqRel)),
            Err(error) => self.shared.fail(&spec, &error),
        }
    }

    /// Until `time` has passed or somebody stops the demo.
    fn wait(&self, time: Duration) {
        let stop = lock(&self.shared.stop);
        if !*stop {
            drop(self.shared.wake.wait_timeout(stop, time));
        }
    }
}

impl Shared {
    fn fail(&self, spec: &JobSpec, error: &Error) {
        lock(&self.failures).push(format!("{}: {error}", spec.run));
        self.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Nothing here can be left half-changed by a panic of another thread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One share of the jobs for each thread. The steered run and its twin stay together, so that
/// they advance side by side; the others go to the share with the lower pace.
fn share_out(jobs: Vec<Job>) -> Vec<Vec<Job>> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_THREADS);
    let mut shares: Vec<Vec<Job>> = (0..threads).map(|_| Vec::new()).collect();
    let pace = |share: &Vec<Job>| share.iter().map(|j| j.spec().tokens_per_second).sum::<f64>();
    let (pair, others): (Vec<Job>, Vec<Job>) =
        jobs.into_iter().partition(|j| [STEERED, TWIN].contains(&j.spec().run.as_str()));
    if let Some(first) = shares.first_mut() {
        first.extend(pair);
    }
    for job in others {
        if let Some(least) = shares.iter_mut().min_by(|a, b| pace(a).total_cmp(&pace(b))) {
            least.push(job);
        }
    }
    shares
}

fn now() -> Moment {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment(since.as_secs_f64())
}

/// `host.pid`, as the protocol asks of a trainer without a job id.
fn attempt_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}.{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn small(dir: &Path, pace: f64, budget_tokens: u64) -> (DemoOptions, Vec<JobSpec>) {
        let mut specs = specs(5);
        specs.truncate(4);
        specs.iter_mut().for_each(|s| s.budget_tokens = budget_tokens);
        (DemoOptions { dir: dir.to_path_buf(), seed: 5, pace }, specs)
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    fn acks(dir: &Path, run: &str) -> Vec<Value> {
        lines(&dir.join(run).join("metrics.control.ack.jsonl"))
    }

    #[test]
    fn the_steered_run_is_its_twin_until_the_change() {
        let dir = tempfile::tempdir().unwrap();
        let (options, specs) = small(dir.path(), f64::INFINITY, 600_000);
        std::fs::create_dir_all(dir.path().join(STEERED)).unwrap();
        let file = json!({"version": 1, "run": STEERED, "revision": 1, "issued_at": "",
            "issued_by": "", "expect": {"batch_size_tokens": 8192}, "schedule":
            [{"from_tokens": 0, "batch_size_tokens": 8192},
             {"from_tokens": 300_000, "batch_size_tokens": 16_384}]});
        let control = dir.path().join(STEERED).join("metrics.control.json");
        std::fs::write(control, file.to_string()).unwrap();
        let demo = Demo::start_jobs(options, specs).unwrap();
        assert_eq!((demo.steered(), demo.twin()), (demo.run_ids()[0], "b8192"));
        let paths = demo.metrics_paths();
        assert_eq!(demo.join(), Vec::<String>::new());
        let (steered, twin) = (lines(&paths[0]), lines(&dir.path().join("b8192/metrics.jsonl")));
        let same = steered.iter().zip(&twin).take_while(|(a, b)| a["loss"] == b["loss"]).count();
        let first = &steered[same];
        assert!(first["tokens"].as_u64().unwrap() > 300_000);
        assert_eq!((&first["batch_size"], &first["control_revision"]), (&json!(16_384), &json!(1)));
        assert!(steered[..same].iter().all(|l| l["batch_size"] == 8192));
        assert!(twin.iter().all(|l| l["control_revision"].is_null()));
        let last = steered.last().unwrap()["tokens"].as_u64().unwrap();
        assert!((600_000..616_384).contains(&last));
        let said: Vec<Value> =
            acks(dir.path(), STEERED).iter().map(|a| a["status"].clone()).collect();
        assert_eq!(said, ["ready", "accepted", "applied", "applied", "ended"]);
    }

    #[test]
    fn a_stopped_demo_ends_its_jobs_cleanly() {
        let dir = tempfile::tempdir().unwrap();
        let (options, specs) = small(dir.path(), 1e-6, 600_000);
        let demo = Demo::start_jobs(options.clone(), specs.clone()).unwrap();
        assert!(!demo.is_done());
        let shared = Arc::clone(&demo.shared);
        demo.stop();
        assert_eq!(shared.running.load(Ordering::Acquire), 0);
        for spec in &specs {
            let acks = acks(dir.path(), &spec.run);
            assert_eq!(acks.last().unwrap()["status"], "ended");
            assert_eq!(acks.last().unwrap()["detail"], "stopped");
        }
        let again = Demo::start_jobs(options, specs).unwrap_err();
        assert!(again.to_string().contains("earlier demo"), "{again}");
    }

    #[test]
    fn the_pace_is_kept_by_the_clock() {
        let dir = tempfile::tempdir().unwrap();
        // The steered run and its twin: 0.65 Mtokens a second of demo time.
        let (options, specs) = small(dir.path(), 1.0, 260_000);
        let begun = Instant::now();
        assert!(Demo::start_jobs(options, specs).unwrap().join().is_empty());
        let took = begun.elapsed().as_secs_f64();
        // The last stride may begin a stride early.
        assert!(took > 0.29, "{took} s for 0.4 s of demo");
    }

    #[test]
    fn a_job_that_cannot_write_is_said_to_have_failed() {
        let dir = tempfile::tempdir().unwrap();
        let (options, specs) = small(dir.path(), f64::INFINITY, 100_000);
        std::fs::create_dir_all(dir.path().join("b4096")).unwrap();
        std::fs::create_dir(dir.path().join("b4096/metrics.control.ack.jsonl")).unwrap();
        let error = Demo::start_jobs(options, specs.clone()).unwrap_err();
        assert!(error.to_string().contains("b4096"), "{error}");
        let bad = DemoOptions { dir: dir.path().into(), seed: 1, pace: 0.0 };
        assert_eq!(Demo::start_jobs(bad, specs).unwrap_err().exit_code() as i32, 2);
    }
}
