//! How a trainer judges a revision: pure, in the order of the protocol's codes.

use super::limits::{Direction, Limits};
use crate::control::protocol::{Entry, VERSION};
use serde_json::Value;

/// The largest whole number that JSON readers agree on.
const MAX_COUNT: f64 = 9_007_199_254_740_992.0;

/// Why a revision is rejected: the protocol's code, and words for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: &'static str,
    pub detail: String,
}

fn refuse<T>(code: &'static str, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, detail: detail.into() })
}

/// A control file that is JSON and has a revision; the rest is looked at when it is judged.
#[derive(Debug)]
pub(super) struct Request {
    pub revision: u64,
    fields: Value,
}

/// `None`: garbage or torn, which means "nothing new".
pub(super) fn read_request(text: &str) -> Option<Request> {
    let fields: Value = serde_json::from_str(text).ok()?;
    let revision = whole(fields.get("revision")?).filter(|r| *r > 0)?;
    Some(Request { revision, fields })
}

/// A count may be written `4190000` or `4.19e6`.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let x = value.as_f64()?;
        ((0.0..=MAX_COUNT).contains(&x) && x.fract() == 0.0).then_some(x as u64)
    })
}

/// What a revision is judged against.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub run: &'a str,
    /// Tokens seen so far.
    pub tokens: u64,
    /// What the next step would have, in tokens.
    pub batch_size: u64,
    /// The trainer's own batch size, in tokens.
    pub own: u64,
    pub limits: &'a Limits,
}

/// The schedule if the revision is accepted.
pub(super) fn judge(request: &Request, ask: &Ask<'_>) -> Result<Vec<Entry>, Refusal> {
    let fields = &request.fields;
    match fields.get("version").and_then(whole) {
        Some(VERSION) => {}
        other => return refuse("version", format!("found version {other:?}, know {VERSION}")),
    }
    match fields.get("run").and_then(Value::as_str) {
        Some(run) if run == ask.run => {}
        other => return refuse("wrong_run", format!("found {other:?}, this is {:?}", ask.run)),
    }
    let schedule = read_schedule(fields.get("schedule"))?;
    match optional(fields, "expect", "batch_size_tokens")? {
        Some(expected) if expected != ask.batch_size => {
            let now = ask.batch_size;
            return refuse("expect", format!("expected {expected}, the next step has {now}"));
        }
        _ => {}
    }
    match optional(fields, "not_after", "tokens")? {
        Some(last) if ask.tokens > last => {
            return refuse("expired", format!("{} tokens seen, valid to {last}", ask.tokens));
        }
        _ => {}
    }
    fits(&schedule, ask.tokens, Some(ask.batch_size), ask.own, ask.limits)?;
    Ok(schedule)
}

/// `outer.inner` as a count; null, `{}` and a missing key are absent.
fn optional(fields: &Value, outer: &str, inner: &str) -> Result<Option<u64>, Refusal> {
    match fields.get(outer).and_then(|o| o.get(inner)) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match whole(value) {
            Some(count) => Ok(Some(count)),
            // A condition that cannot be read cannot be taken as met.
            None => refuse("schedule", format!("{outer}.{inner} is {value}, not a count")),
        },
    }
}

fn read_schedule(value: Option<&Value>) -> Result<Vec<Entry>, Refusal> {
    let Some(list) = value.and_then(Value::as_array).filter(|l| !l.is_empty()) else {
        return refuse("schedule", "no list of at least one entry");
    };
    let mut schedule: Vec<Entry> = Vec::with_capacity(list.len());
    for entry in list {
        let read = (
            entry.get("from_tokens").and_then(whole),
            entry.get("batch_size_tokens").and_then(whole).filter(|b| *b > 0),
            match entry.get("lr_scale") {
                None | Some(Value::Null) => Some(None),
                Some(v) => v.as_f64().filter(|x| *x > 0.0).map(Some),
            },
        );
        let (Some(from_tokens), Some(batch_size_tokens), Some(lr_scale)) = read else {
            return refuse("schedule", format!("entry {} is malformed", schedule.len() + 1));
        };
        if schedule.last().is_some_and(|last| last.from_tokens >= from_tokens) {
            return refuse("schedule", "from_tokens does not ascend");
        }
        schedule.push(Entry { from_tokens, batch_size_tokens, lr_scale });
    }
    Ok(schedule)
}

/// Checks every entry that can still act after `tokens` against unit, limits, direction and
/// learning rate. `running`: the batch size of the next step, where one runs; at a start there is
/// none to go down from.
pub(super) fn fits(
    schedule: &[Entry],
    tokens: u64,
    running: Option<u64>,
    own: u64,
    limits: &Limits,
) -> Result<(), Refusal> {
    let past = schedule.iter().take_while(|e| e.from_tokens <= tokens).count();
    let acting = &schedule[past.saturating_sub(1)..];
    for e in acting {
        let (b, unit) = (e.batch_size_tokens, limits.unit_tokens.max(1));
        if b % unit != 0 {
            return refuse("not_divisible", format!("{b} is not a multiple of {unit}"));
        }
    }
    for e in acting {
        let (b, least, most) =
            (e.batch_size_tokens, limits.min_batch_tokens, limits.max_batch_tokens);
        if b < least || most.is_some_and(|m| b > m) {
            let most = most.map_or("any size".to_string(), |m| m.to_string());
            return refuse("limit", format!("{b} is not within {least} to {most}"));
        }
    }
    if limits.direction == Direction::Up {
        // Before the first entry the trainer's own batch size runs.
        let own = (past == 0).then_some(own);
        let sizes: Vec<u64> = running
            .into_iter()
            .chain(own)
            .chain(acting.iter().map(|e| e.batch_size_tokens))
            .collect();
        if let Some(pair) = sizes.windows(2).find(|w| w[1] < w[0]) {
            return refuse("direction", format!("{} after {}, only up", pair[1], pair[0]));
        }
    }
    for e in acting {
        let (b, scale) = (e.batch_size_tokens, e.lr_scale.unwrap_or(1.0));
        if scale != 1.0 && !limits.can_scale_lr {
            return refuse("lr_scale", format!("{scale}: this trainer cannot scale it"));
        }
        if !limits.stability.holds(b, scale) {
            return refuse("lr_scale", format!("{scale} at {b} tokens a step diverges"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Stability;
    use proptest::prelude::*;
    use serde_json::json;

    fn limits() -> Limits {
        Limits {
            unit_tokens: 512,
            min_batch_tokens: 1024,
            max_batch_tokens: Some(131_072),
            direction: Direction::Both,
            can_scale_lr: true,
            stability: Stability { flat: 0.25, per_sample: 604.0 },
        }
    }

    fn request() -> Value {
        json!({"version": 1, "run": "steer", "revision": 3, "issued_at": "", "issued_by": "me",
            "schedule": [{"from_tokens": 0, "batch_size_tokens": 8192},
                {"from_tokens": 9e6, "batch_size_tokens": 1.6384e4, "lr_scale": 1.0, "new": 1}],
            "expect": {"batch_size_tokens": 8192}, "not_after": {"tokens": 8000000},
            "evidence": {"b_opt": null}, "later": [1]})
    }

    fn verdict(value: &Value, limits: &Limits) -> Result<Vec<Entry>, &'static str> {
        let request = read_request(&value.to_string()).unwrap();
        let ask = Ask { run: "steer", tokens: 5_000_000, batch_size: 8192, own: 8192, limits };
        judge(&request, &ask).map_err(|r| r.code)
    }

    #[test]
    fn a_good_revision_is_accepted_whole() {
        let got = verdict(&request(), &limits()).unwrap();
        assert_eq!(got.len(), 2);
        assert_eq!((got[1].from_tokens, got[1].batch_size_tokens), (9_000_000, 16_384));
    }

    #[test]
    fn each_fault_has_its_code() {
        let cases: [(&str, Value, &str); 17] = [
            ("/version", json!(2), "version"),
            ("/run", json!("twin"), "wrong_run"),
            ("/run", Value::Null, "wrong_run"),
            ("/schedule", json!([]), "schedule"),
            ("/schedule", json!("8192"), "schedule"),
            ("/schedule/1/from_tokens", json!(0), "schedule"),
            ("/schedule/1/from_tokens", json!(-5), "schedule"),
            ("/schedule/1/batch_size_tokens", json!(16384.5), "schedule"),
            ("/schedule/1/lr_scale", json!("half"), "schedule"),
            ("/expect/batch_size_tokens", json!(4096), "expect"),
            ("/expect/batch_size_tokens", json!("8k"), "schedule"),
            ("/not_after/tokens", json!(4_999_999), "expired"),
            ("/schedule/1/batch_size_tokens", json!(16_385), "not_divisible"),
            ("/schedule/0/batch_size_tokens", json!(512), "limit"),
            ("/schedule/1/batch_size_tokens", json!(262_144), "limit"),
            ("/schedule/1/lr_scale", json!(3.9), "lr_scale"),
            ("/schedule/1/lr_scale", json!(0), "schedule"),
        ];
        for (pointer, value, code) in cases {
            let mut bad = request();
            *bad.pointer_mut(pointer).unwrap() = value.clone();
            assert_eq!(verdict(&bad, &limits()).err(), Some(code), "{pointer} = {value}");
        }
    }

    #[test]
    fn the_first_code_in_the_order_of_checking_is_given() {
        let mut bad = request();
        bad["expect"] = json!({"batch_size_tokens": 1});
        bad["not_after"] = json!({"tokens": 1});
        bad["schedule"][1]["batch_size_tokens"] = json!(100);
        assert_eq!(verdict(&bad, &limits()), Err("expect"));
        bad["expect"] = json!({});
        assert_eq!(verdict(&bad, &limits()), Err("expired"));
        bad["not_after"] = Value::Null;
        assert_eq!(verdict(&bad, &limits()), Err("not_divisible"));
    }

    #[test]
    fn only_entries_that_can_still_act_are_checked() {
        let mut old = request();
        old["schedule"] = json!([{"from_tokens": 0, "batch_size_tokens": 7},
            {"from_tokens": 100, "batch_size_tokens": 8192}]);
        assert!(verdict(&old, &limits()).is_ok());
    }

    #[test]
    fn a_trainer_that_only_goes_up_says_so() {
        let up = Limits { direction: Direction::Up, ..limits() };
        assert!(verdict(&request(), &up).is_ok());
        let mut down = request();
        down["schedule"][1]["batch_size_tokens"] = json!(4096);
        assert_eq!(verdict(&down, &up), Err("direction"));
        assert!(verdict(&down, &limits()).is_ok());
        // Before the first entry the trainer's own size would run again: up from it is fine.
        let mut later = request();
        later["schedule"] = json!([{"from_tokens": 6_000_000, "batch_size_tokens": 8192}]);
        assert!(verdict(&later, &up).is_ok());
        let fixed = Limits { can_scale_lr: false, ..limits() };
        later["schedule"][0]["lr_scale"] = json!(1.4);
        assert_eq!(verdict(&later, &fixed), Err("lr_scale"));
    }

    #[test]
    fn what_is_no_request_is_nothing_new() {
        let whole = request().to_string();
        for text in ["", "null", "[]", "{}", "{\"revision\":0}", "{\"revision\":1.5}", "\u{feff}"] {
            assert!(read_request(text).is_none(), "{text}");
        }
        assert!((0..whole.len()).all(|n| read_request(&whole[..n]).is_none()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,80}", n in any::<f64>()) {
            if let Some(r) = read_request(&text) {
                prop_assert!(r.revision > 0);
            }
            let mut odd = request();
            odd["schedule"][0]["from_tokens"] = json!(n);
            odd["schedule"][1]["batch_size_tokens"] = json!(n);
            if let Ok(schedule) = verdict(&odd, &limits()) {
                prop_assert!(schedule[0].from_tokens < schedule[1].from_tokens);
            }
        }
    }
}
