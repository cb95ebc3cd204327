//! Where no law speaks: what is missing, what would tell it, and what is known without.

use super::branch::{Branches, Known, branches, minicpm_mark};
use super::design::Belief;
use super::estimate::estimate_of;
use super::plan::Ask;
use super::verdict::{cannot_tell, estimate_text, from_estimate};
use super::{Verdict, VerdictKind};
use crate::curve::{Estimate, GroupFit, RunUse, Stretch};
use crate::run;
use crate::units::{count, loss};

/// Tokens of a run at one batch size are B x steps up to this log ratio.
const RAMPED: f64 = 0.05;
/// What a level says counts for a run up to this multiple of its tokens there.
const BEHIND: f64 = 1.25;
/// A reference mark further than this factor from the present batch size is not shown.
const MARK: f64 = 30.0;

impl Ask<'_> {
    pub fn no_fit(&self, because: &str) -> Verdict {
        let tested = self.tested();
        let lacks = self.group.and_then(|g| g.refused.iter().find(|r| r.what == "joint law"));
        let mut reasons = vec![match lacks.filter(|_| tested.len() > 1) {
            Some(r) => format!("no joint law: {}; needs {}", r.why, r.needs),
            None => "one run at one batch size cannot identify E(S): siblings at the same \
                     learning rate are needed (4 batch sizes or more), or a saved law (--law FILE)"
                .to_string(),
        }];
        reasons.extend(self.branches(&tested).map(|b| b.text()));
        if let Some(mark) = self.mark() {
            reasons.push(format!(
                "reference mark, no estimate: MiniCPM's rule gives {} tokens at this loss (keyed to \
                 its own tokenizer's loss)",
                count(mark)
            ));
        }
        cannot_tell(because, reasons)
    }

    /// What siblings at a constant batch size, and branches of this run, have done from step 0 on. A
    /// size whose run drifts or is too short was tried too; other ramps tell of no single size, and
    /// the run itself is the parent.
    fn tested(&self) -> Vec<Vec<Stretch>> {
        let runs = self.group.map(|g| g.runs.as_slice()).unwrap_or_default();
        let own = self.constraints.own as f64;
        let past = |r: &RunUse| {
            let (b, s, t) = (r.batch_size_tokens?, r.steps?, r.tokens?);
            if (b * s / t).ln().abs() < RAMPED {
                return Some(vec![Stretch { batch_size: b, steps: s }]);
            }
            // One change, from this run's size: own (s - x) + b x = t.
            let after = (own * s - t) / (own - b);
            let parent = Stretch { batch_size: own, steps: s - after };
            let branch = after > 0.0 && after < s;
            branch.then(|| vec![parent, Stretch { batch_size: b, steps: after }])
        };
        runs.iter().filter(|r| r.id != self.run.id).filter_map(past).collect()
    }

    /// MiniCPM's mark where it is near: of another tokenizer or kind of data it says nothing at all.
    fn mark(&self) -> Option<f64> {
        let own = self.constraints.own as f64;
        self.loss.and_then(minicpm_mark).filter(|b| (b / own).ln().abs() < MARK.ln())
    }

    /// What would tell B_opt, the cheapest way.
    fn branches(&self, tested: &[Vec<Stretch>]) -> Option<Branches> {
        let (c, loss, own) = (self.constraints, self.loss?, self.constraints.own as f64);
        let (beliefs, because) = match self.group.and_then(|g| g.law.as_ref()) {
            Some(fit) => {
                (vec![Belief::saved(fit)], "by the saved law, its doubts widened".to_string())
            }
            None => {
                // The mark is of another tokenizer: a set has to tell where it is wrong, too.
                let centres: Vec<f64> = [Some(own), self.mark()].into_iter().flatten().collect();
                let may =
                    |centre: &f64| Belief::guessed(loss, *centre, own, self.run.step().max(1.0));
                let whose = match centres.len() {
                    1 => "a law of usual form around the present size",
                    _ => "laws of usual form around the present size and the reference mark",
                };
                (centres.iter().map(may).collect(), format!("by {whose}, taken to be very unsure"))
            }
        };
        let known = Known {
            own: c.own,
            tokens: self.run.tokens(),
            loss,
            unit: c.unit,
            min: c.min,
            max: c.max,
            tested,
            beliefs,
            because,
        };
        branches(&known)
    }

    /// A model of one level may still say on which side of B_opt the run is.
    pub fn without_law(&self, group: &GroupFit, estimate: Result<Estimate, String>) -> Verdict {
        match estimate {
            Ok(e) => {
                let mut reasons = vec![
                    estimate_text(&e, self.constraints.own),
                    "no schedule is planned: that needs the joint law with memory".into(),
                ];
                reasons.extend(
                    group
                        .refused
                        .iter()
                        .map(|r| format!("{}: {}; needs {}", r.what, r.why, r.needs)),
                );
                let alone = self.run.segments.len() == 1;
                let tokens = Some(self.run.tokens()).filter(|t| alone && t.is_finite());
                let c = &self.constraints;
                from_estimate(&e, c.own, tokens, c.up_only, reasons)
            }
            Err(why) => self.as_before(group).unwrap_or_else(|| self.no_fit(&why)),
        }
    }

    /// What was said from the levels stays for a while once the run has left the lowest one behind:
    /// the next one speaks when enough sizes have got there. `None` where the lowest one does not
    /// say it.
    fn as_before(&self, group: &GroupFit) -> Option<Verdict> {
        let said = self.situation.said.filter(|k| *k != VerdictKind::CannotTell)?;
        let [lowest, _] = group.spoken().filter(|l| self.loss.is_some_and(|now| now < l[0]))?;
        let left = run::tokens_to(self.run, lowest)?;
        if self.run.tokens() > BEHIND * left {
            return None;
        }
        let e = estimate_of(self.run, group, lowest).ok()?;
        let tokens = (self.run.segments.len() == 1).then_some(left);
        let c = &self.constraints;
        let reasons = vec![estimate_text(&e, c.own)];
        let mut verdict = from_estimate(&e, c.own, tokens, c.up_only, reasons);
        verdict.text.push_str(&format!(
            "; so it was at loss {}, the lowest at which a model speaks",
            loss(lowest)
        ));
        (verdict.kind == said).then_some(verdict)
    }
}
