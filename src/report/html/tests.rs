use super::page::escape;
use super::*;
use crate::snapshot::*;
use std::sync::Arc;

const NASTY: &str = "\u{1b}]0;x\u{7}</td></table><script>alert(1)</script>\"'&\u{202e}evil";

fn line(event: &str, text: &str) -> LogLine {
    LogLine {
        at: "2026-03-01T10:00:00Z".into(),
        event: event.into(),
        revision: Some(3),
        by: "ann@login1".into(),
        text: text.into(),
    }
}

/// As the audit gives it back.
fn forecast() -> Forecast {
    let iv = |v: f64| Interval {
        value: Some(v),
        low: Some(v - 0.1),
        high: Some(v + 0.1),
        level: 0.9,
        open: Open::None,
    };
    let promise = crate::advice::Promise {
        from_tokens: 1000.0,
        batch_size_tokens: 128.0,
        judged_over_tokens: [2000.0, 3000.0],
        loss: iv(2.0),
        loss_if_left: 2.25,
        on: LossKind::Train,
        target_loss: None,
        tokens: None,
        way: Vec::new(),
    };
    let outcome = crate::advice::Outcome {
        promise: promise.clone(),
        loss: 2.05,
        loss_se: 0.01,
        kept: true,
        began_above: 0.0,
        share: Some(0.8),
    };
    Forecast {
        revision: 3,
        promise,
        outcome: Some(outcome),
        spoiled_at: None,
        arrival: None,
        made_at_tokens: Some(900.0),
        replaced: false,
    }
}

fn snapshot(words: &str) -> Snapshot {
    let view = RunView {
        id: words.into(),
        group: Some(words.into()),
        excluded: false,
        state: RunState::Live,
        phase: Some(Phase::Stable),
        schedule: Schedule::Wsd,
        schedule_why: words.into(),
        step: Some(7.0),
        tokens: Some(f64::NAN),
        loss: Some(f64::INFINITY),
        lr: None,
        batch_size: Some(64.0),
        tokens_per_second: None,
        last_write: None,
        paths: vec![words.into()],
        format: words.into(),
        batch_source: BatchSource::Unknown,
        tokens_source: TokensSource::Unknown,
        restarts: Vec::new(),
        notes: vec![words.into()],
        lines: 1,
        bad_lines: 1,
        b_opt: None,
        excess_tokens: None,
        verdict: Verdict {
            kind: VerdictKind::CannotTell,
            text: words.into(),
            reasons: vec![words.into()],
        },
        plan: None,
        control: ControlView {
            log: vec![line("approved", words), line("applied", words)],
            notes: vec![words.into()],
            forecasts: vec![forecast()],
            ..ControlView::default()
        },
        plots: Arc::default(),
    };
    let group = GroupFit {
        id: words.into(),
        lr: None,
        runs: Vec::new(),
        law: None,
        provisional: None,
        scores: Vec::new(),
        levels: Vec::new(),
        notes: vec![words.into()],
        refused: vec![Refused { what: words.into(), why: words.into(), needs: words.into() }],
    };
    Snapshot {
        at: 1_772_359_200.0,
        replay: None,
        read_only: true,
        seq_len: None,
        runs: vec![Arc::new(view)],
        fit: Arc::new(FitView {
            report: FitReport { groups: vec![group] },
            made_at: Some(0.0),
            intervals_at: None,
            running: false,
        }),
        sources: Vec::new(),
        messages: Vec::new(),
    }
}

/// Every tag of the page in order.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).filter_map(|t| t.split('>').next()).collect()
}

#[test]
fn text_of_a_log_can_only_be_read() {
    let harmless = report(&snapshot("run"), "run", "0", &[]).unwrap();
    let page = report(&snapshot(NASTY), NASTY, "0", &[]).unwrap();
    // Whatever the words are, the markup is the same.
    assert_eq!(tags(&page), tags(&harmless));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    let unfit = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!page.contains(unfit));
    assert_eq!(escape("a<b>&\"'\u{1b}[31m"), "a&lt;b&gt;&amp;&quot;&#39;[31m");
}

#[test]
fn nothing_is_loaded_and_nothing_runs() {
    let page = report(&snapshot("run"), "run", "0", &[]).unwrap();
    for word in ["src=", "href=", "url(", "@import", "http", "<script", "<link", "<img"] {
        let place = page.replace("http-equiv", "");
        assert!(!place.contains(word), "{word}");
    }
    assert!(page.contains("default-src 'none'"));
    for tag in ["section", "table", "ul", "p", "main", "div"] {
        let count = |t: &str| tags(&page).iter().filter(|x| x.split(' ').next() == Some(t)).count();
        assert_eq!(count(tag), count(&format!("/{tag}")), "{tag}");
    }
}

#[test]
fn the_decisions_and_what_came_of_them_are_told() {
    let page = report(&snapshot("run"), "run", "0", &[]).unwrap();
    for cell in ["128 at 1K", "2.0000 (1.9000 to 2.1000)", "2.2500", "2.0500 +- 0.0100"] {
        assert!(page.contains(&format!("<td class=\"n\">{cell}</td>")), "{cell}: {page}");
    }
    assert!(page.contains("<td>held</td>"), "{page}");
    assert!(page.contains("<td>applied</td>"), "{page}");
    assert!(page.contains("Not known, and what would tell"), "{page}");
    assert!(!page.contains("NaN") && !page.contains("inf<"), "{page}");
}

#[test]
fn plots_share_no_names() {
    let svg = "<svg><clipPath id=\"p0\"/><g clip-path=\"url(#p0)\"/></svg>".to_string();
    let pictures = [("a", svg.clone()), ("b", svg)];
    let page = report(&snapshot("run"), "run", "0", &pictures).unwrap();
    for name in ["f1p0", "f2p0"] {
        assert_eq!(page.matches(&format!("id=\"{name}\"")).count(), 1, "{page}");
        assert_eq!(page.matches(&format!("url(#{name})")).count(), 1, "{page}");
    }
}

#[test]
fn a_run_that_is_not_there_has_no_page() {
    assert_eq!(report(&snapshot("run"), "other", "0", &[]), None);
}
