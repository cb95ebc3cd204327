//! The guards that take more than a line to answer.

use super::constraints::{B_MIN_MARGIN, MIN_BUMP};
use super::estimate::not_for;
use super::first_stretch::{FirstStretch, STEEP, STRANGE};
use super::guard::{Answer, Case};
use super::own_past::{OwnPast, VETO, catch_up_steps};
use super::plan::memory_of;
use super::reasons::rival_text;
use super::verdict::interval_text;
use super::{PlanOptions, Situation, VerdictKind};
use crate::curve::{GroupFit, LawFit, LevelFit, Memory, ModelKind};
use crate::run::RunData;
use crate::units::{count, exact, loss, percent};

/// Share of the bound below which a miss no longer speaks against advice, once it did.
const CLEARLY: f64 = 0.9;

pub(super) fn lead_time(c: &Case<'_>) -> Answer {
    let k = c.constraints;
    if c.change_at < k.earliest {
        return Answer::Block(format!(
            "the change at {} tokens lies less than the lead time ahead of {}; the earliest is {}",
            exact(c.change_at),
            exact(k.now),
            exact(k.earliest)
        ));
    }
    if k.tokens_per_second.is_none() {
        return Answer::CannotTell(
            "the throughput is not known, so neither is how many seconds ahead the change lies"
                .into(),
        );
    }
    Answer::Pass
}

/// The newest change, while what it brought does not show yet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CatchingUp {
    batch_size: f64,
    began: f64,
    done: f64,
    /// Steps after which it shows.
    window: f64,
}

impl CatchingUp {
    /// `None` without a change, or once it is old enough to be judged.
    pub fn of(
        run: &RunData,
        group: Option<&GroupFit>,
        situation: &Situation,
        options: &PlanOptions,
    ) -> Option<CatchingUp> {
        let last = run.segments.last()?;
        let seen = (run.segments.len() > 1).then_some(last.from_tokens);
        let began = situation.last_change_tokens.or(seen)?;
        let law = group.and_then(|g| g.law.as_ref());
        let memory = law.map_or(Memory::SLOW, |f| memory_of(f, options.memory));
        let done = (run.tokens() - began) / last.batch_size;
        let window = catch_up_steps(&memory, (run.step() - done).max(0.0));
        let batch_size = last.batch_size;
        (done < window).then_some(CatchingUp { batch_size, began, done, window })
    }

    /// Cumulative tokens at which it is over.
    pub fn until(&self) -> f64 {
        self.began + self.window * self.batch_size
    }

    pub fn text(&self) -> String {
        format!(
            "the change to {} tokens at {} is {} steps old, and what it brought shows after about \
             {}; wait until {} tokens",
            count(self.batch_size),
            count(self.began),
            count(self.done.max(0.0)),
            count(self.window),
            count(self.until())
        )
    }
}

pub(super) fn catch_up(c: &Case<'_>) -> Answer {
    let catching = CatchingUp::of(c.run, c.group, c.situation, c.options);
    catching.map_or(Answer::Pass, |w| Answer::Block(w.text()))
}

/// Two changes within the time that a batch size is kept count as one.
pub(super) fn bump_size(c: &Case<'_>) -> Answer {
    let k = c.constraints;
    let most = k.max_bump * (1.0 + 1e-9);
    for (i, (at, from, to)) in c.bumps.iter().enumerate() {
        let factor = *to as f64 / (*from).max(1) as f64;
        let size = factor.max(1.0 / factor);
        if size > most {
            return Answer::Block(format!(
                "{} to {} is a factor of {size:.2}, and at most {:.2} at once has been asked for; \
                 go there in steps, {} tokens apart",
                exact(*from),
                exact(*to),
                k.max_bump,
                exact(k.dwell)
            ));
        }
        if size < MIN_BUMP * (1.0 - 1e-9) {
            return Answer::Block(format!(
                "{} to {} is a factor of {size:.2}, too small to be worth a change (at least \
                 {MIN_BUMP})",
                exact(*from),
                exact(*to)
            ));
        }
        // The planner keeps a whole dwell, which grows with the run: a plan of a while ago passes.
        let before = i.checked_sub(1).and_then(|j| c.bumps.get(j));
        if let Some((earlier, start, _)) = before
            && at.saturating_sub(*earlier) < k.dwell / 2
        {
            let both = *to as f64 / (*start).max(1) as f64;
            if both.max(1.0 / both) > most {
                return Answer::Block(format!(
                    "{} to {} to {} within {} tokens is one change by a factor of {both:.2}; keep \
                     each for {} tokens",
                    exact(*start),
                    exact(*from),
                    exact(*to),
                    exact(at - earlier),
                    exact(k.dwell)
                ));
            }
        }
    }
    Answer::Pass
}

pub(super) fn below_b_min(c: &Case<'_>) -> Answer {
    let e = match &c.estimate {
        Ok(e) => e,
        Err(why) => return Answer::CannotTell(format!("B_min is not known: {why}")),
    };
    let Some(b_min) = e.b_min else { return Answer::CannotTell("B_min is not known".into()) };
    let least = B_MIN_MARGIN * b_min;
    // On the way up a size may still be too small; the last one may not, and no reduction may.
    let last = c.bumps.len().saturating_sub(1);
    let low = c
        .bumps
        .iter()
        .enumerate()
        .find(|(i, (_, from, to))| (*to as f64) < least && (to < from || *i == last));
    low.map_or(Answer::Pass, |(_, (_, _, to))| Answer::Block(format!(
        "{} lies below B_min = {} (with a margin of {}) at loss {}: the run would not get below \
         this loss; choose {} or more",
        exact(*to), count(b_min), percent(B_MIN_MARGIN - 1.0), loss(e.loss), count(least)
    )))
}

pub(super) fn law_misses_past(c: &Case<'_>) -> Answer {
    let Some(fit) = c.group.and_then(|g| g.law.as_ref()) else {
        return Answer::CannotTell(
            "no law speaks that could be held against this run's past".into(),
        );
    };
    if let Some(why) = c.group.and_then(|g| not_for(c.run, g, c.loss)) {
        return Answer::Block(why);
    }
    let memory = memory_of(fit, c.options.memory);
    match OwnPast::of(c.run, fit.on, fit.burn_in_steps, &fit.law, &memory) {
        Err(why) => Answer::CannotTell(format!("the law cannot be held against this run: {why}")),
        Ok(own) => {
            let miss = own.least_miss(&fit.law, &memory);
            veto(c.run, fit, miss, c.situation.said).map_or(Answer::Pass, Answer::Block)
        }
    }
}

/// Why a law that does not explain the run that it is to steer gives no advice; `None` where it
/// explains it. `miss` is its [`OwnPast::least_miss`]. Advice that was withheld is given again only
/// where the miss is clearly less, so that a miss at the bound does not make it come and go.
pub(super) fn veto(
    run: &RunData,
    fit: &LawFit,
    miss: f64,
    said: Option<VerdictKind>,
) -> Option<String> {
    let share = if said == Some(VerdictKind::CannotTell) { CLEARLY } else { 1.0 };
    let (most, strangest, steepest) = (share * VETO, share * STRANGE, share * STEEP);
    let first = FirstStretch::of(run, fit);
    let strange = first.map(|f| f.off).filter(|z| *z > strangest);
    let steep = first.and_then(|f| f.fall).filter(|f| f.off() > steepest);
    let how = match (miss > most, strange, steep) {
        (true, ..) => {
            format!("by {} of L - L_inf ({} is the most for advice)", percent(miss), percent(most))
        }
        (false, Some(z), _) => format!(
            "by {z:.1} times its own error ({strangest:.1} is the most for advice; {} of L - L_inf)",
            percent(miss)
        ),
        (false, None, Some(f)) => format!(
            "in how fast the loss changed, {:+.3} nats for each factor of e in steps where it says \
             {:+.3}: {:.1} times what noise and its own error explain ({steepest:.1} is the most for \
             advice)",
            f.observed,
            f.predicted,
            f.off()
        ),
        (false, None, None) => return None,
    };
    Some(format!(
        "the law misses this run's own past {how}: it may come from another model, learning rate or \
         data; fit runs like this one"
    ))
}

pub(super) fn models_disagree(c: &Case<'_>) -> Answer {
    let (Some(group), Some(now)) = (c.group, c.loss) else { return Answer::Pass };
    let aim = c.options.target_loss.unwrap_or(now);
    let Some(last) = c.bumps.last() else { return Answer::Pass };
    let raise = last.2 > c.constraints.own;
    let rival = group.law.as_ref().filter(|_| raise).and_then(rival_text);
    let unsure = rival.map_or(Answer::Pass, |why| {
        Answer::Block(format!(
            "{why}, so a raise may cost tokens: train batch sizes on both sides of {} for longer",
            count(c.constraints.own as f64)
        ))
    });
    let Some(level) = level_at(&group.levels, aim) else { return unsure };
    let best = level
        .models
        .iter()
        .filter(|m| m.refused.is_none())
        .filter_map(|m| m.held_out_ln_e)
        .fold(f64::INFINITY, f64::min);
    let own = c.constraints.own as f64;
    let against = level.models.iter().find(|m| {
        let comparable = m.held_out_ln_e.is_some_and(|h| h <= 1.5 * best);
        let says_no = if raise {
            m.b_opt.high.is_some_and(|h| h < own)
        } else {
            m.b_opt.low.is_some_and(|l| l > own)
        };
        m.refused.is_none() && Some(m.model) != level.model && comparable && says_no
    });
    let speaks = level.model.map_or("none", ModelKind::as_str);
    against.map_or(unsure, |m| {
        Answer::Block(format!(
            "at loss {} the model {}, which predicts left-out batch sizes about as well as {speaks}, \
             puts B_opt at {}, on the other side of {}; train one more batch size there",
            loss(level.loss),
            m.model.as_str(),
            interval_text(&m.b_opt),
            count(own)
        ))
    })
}

/// The level at which a model speaks nearest to a loss; `None` where it lies farther off than its
/// neighbours, since it then says nothing of that loss.
pub(super) fn level_at(levels: &[LevelFit], at: f64) -> Option<&LevelFit> {
    let i = (0..levels.len())
        .filter(|&i| levels[i].model.is_some())
        .min_by(|&i, &j| (levels[i].loss - at).abs().total_cmp(&(levels[j].loss - at).abs()))?;
    let level = &levels[i];
    let neighbours = [i.checked_sub(1), Some(i + 1)].into_iter().flatten();
    let spacing = neighbours
        .filter_map(|j| levels.get(j))
        .map(|l| (l.loss - level.loss).abs())
        .min_by(f64::total_cmp)
        .unwrap_or(0.0);
    ((level.loss - at).abs() <= spacing).then_some(level)
}
