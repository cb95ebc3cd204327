//! What the desk shows.

use super::Desk;
use crate::control;
use crate::snapshot::ControlView;

impl Desk {
    /// Proposals of other tables, in words.
    fn offers(&self) -> Vec<String> {
        let here = |offer: &&control::Offer| {
            self.made_here.iter().any(|l| l.at == offer.at && l.schedule == offer.schedule)
        };
        self.status.offers.iter().filter(|o| !here(o)).map(control::Offer::words).collect()
    }

    /// About the files first, then proposals on other tables, then the answer to the last command.
    fn notes(&self) -> Vec<String> {
        let said = self.trouble.iter().chain(&self.said).cloned();
        let forecasts = control::forecast_words(&self.forecasts);
        let files = self.unread.iter().chain(&self.status.notes).cloned();
        files.chain(forecasts).chain(self.offers()).chain(said).collect()
    }

    pub fn view(&self) -> ControlView {
        let s = &self.status;
        ControlView {
            path: self.paths.as_ref().map(|p| p.control.display().to_string()).unwrap_or_default(),
            revision: s.revision,
            state: s.state,
            schedule: s.schedule.clone(),
            next: s.next,
            trainer: s.limits.clone(),
            notes: self.notes(),
            said: self.said.clone(),
            forecasts: self.forecasts.clone(),
            offers: self.offers(),
            proposal: self.table.as_ref().map(|t| t.shown.clone()),
            log: s.log.clone(),
        }
    }
}
