//! What becomes of a proposal: approved, looked at once more and written, or refused; all of it noted.

use super::{Desk, OnTable};
use crate::advice::{self, GuardName};
use crate::control::{self, AuditLine, Author, Draft, Event};
use crate::error::Error;
use crate::monitor::counts::shifted;
use crate::monitor::grounds::{Case, evidence, expected, not_after, promised, written_words};

impl Desk {
    /// Writes the proposal `number` if it is still the one on the table, the guards of this very
    /// moment pass or are overridden, and nobody else wrote since.
    pub fn approve(
        &mut self,
        number: u64,
        overrides: &[GuardName],
        read_only: bool,
        case: Case<'_>,
    ) {
        let Some(mut table) = self.table.clone().filter(|t| t.shown.number == number) else {
            self.said = Some("that proposal is no longer on the table: look at the new one".into());
            return;
        };
        let situation = self.situation(case.data, case.plan, case.live, true);
        let judged = shifted(&table.shown.schedule, -self.offset);
        table.shown.guards = self.guards(&judged, table.undoes.is_some(), case, &situation);
        match self.write(&table, overrides, read_only || self.read_only, case) {
            Ok(answer) => {
                self.table = None;
                self.said = Some(answer);
            }
            Err(error) => {
                table.shown.answer = Some(error.to_string());
                self.table = Some(table);
            }
        }
        // The next reading shows what stands in the files now.
        self.stamp = None;
    }

    fn write(
        &mut self,
        table: &OnTable,
        overrides: &[GuardName],
        read_only: bool,
        case: Case<'_>,
    ) -> Result<String, Error> {
        let no_place = || Error::Refused("this run has no control file".into());
        let paths = self.paths.clone().ok_or_else(no_place)?;
        if read_only {
            return Err(Error::Refused("read-only: nothing is written".into()));
        }
        if let Some(why) = self.outlived(table, case) {
            let mut line = self.line(Event::Refused, table, case);
            line.reason = Some(why.clone());
            self.log(&line);
            return Err(Error::Refused(why));
        }
        let who = Author::current();
        let draft = self.draft(table, case);
        let approval =
            control::approve(draft, &table.shown.guards, overrides, &who).inspect_err(|why| {
                let mut line = self.line(Event::Refused, table, case);
                line.reason = Some(why.to_string());
                self.log(&line);
            })?;
        let options =
            control::Options { trust_target: self.trust_target, ..control::Options::default() };
        let written = control::write(&paths, &approval, table.based_on, options)?;
        Ok(written_words(&written, &paths))
    }

    /// Why the change that was proposed is none any more.
    fn outlived(&self, table: &OnTable, case: Case<'_>) -> Option<String> {
        let words = |why| format!("the change that was proposed is none any more: {why}");
        if let Some(why) = table.drawn_up.gone(case.data) {
            return Some(words(why));
        }
        let in_force = self.situation(case.data, case.plan, case.live, true).in_force;
        let judged = shifted(&table.shown.schedule, -self.offset);
        let own = case.data.batch_size().unwrap_or(0.0) as u64;
        let now = case.data.tokens().max(0.0) as u64;
        let changes = advice::first_change(&in_force, &judged, own, now).is_some();
        // A newer revision is refused by the name of who wrote it.
        let superseded = self.status.revision > table.based_on;
        (!changes && !superseded && table.undoes.is_none())
            .then(|| words("that is what the run does, or was told, already".into()))
    }

    /// What is approved, in the trainer's count.
    pub(super) fn draft(&self, table: &OnTable, case: Case<'_>) -> Draft {
        let now = (case.data.tokens().max(0.0) as u64).saturating_add_signed(self.offset);
        let own = case.data.batch_size().unwrap_or(0.0) as u64;
        let change = advice::first_change(&table.shown.from, &table.shown.schedule, own, now);
        let schedule = table.shown.schedule.clone();
        let until = |t| not_after(&schedule, t, case.data, now, self.lead_seconds);
        let not_after = change.map(until);
        Draft {
            run: self.run_id().unwrap_or(&case.data.id).to_string(),
            expect: expected(case.data, [&self.status.in_force, &self.ordered()], now, not_after),
            schedule,
            not_after,
            evidence: promised(
                evidence(case),
                &shifted(&table.shown.schedule, -self.offset),
                case,
                &self.situation(case.data, case.plan, case.live, true),
                table.undoes.is_some(),
            ),
            undoes: table.undoes,
        }
    }

    pub(super) fn line(&self, event: Event, table: &OnTable, case: Case<'_>) -> AuditLine {
        let mut line = AuditLine::new(
            event,
            self.run_id().unwrap_or(&case.data.id),
            table.undoes,
            &Author::current(),
        );
        line.schedule = table.shown.schedule.clone();
        line.evidence = Some(evidence(case));
        line
    }

    pub(super) fn log(&mut self, line: &AuditLine) {
        if let Some(paths) = &self.paths
            && !self.read_only
            && let Err(error) = control::audit::record(paths, line)
        {
            self.said = Some(error.to_string());
        }
    }
}
