//! What a person should know about a log, in words.

use super::decode::Decoder;
use super::fields::Role;
use super::mapping::Unit;

impl Decoder {
    /// What a person should know about this file.
    pub fn notes(&self) -> Vec<String> {
        let m = &self.emitter.mapping;
        let mut notes: Vec<String> = Vec::new();
        notes.extend(m.preset_note.map(String::from));
        notes.extend(self.dialect.and_then(|(_, note)| note).map(String::from));
        if self.rounded {
            notes.push("this trainer prints its counts with three digits (9.04M), so tokens and batch size are rounded to 0.5 %".into());
        }
        if self.text_lines > 0 {
            notes.push(format!("{} lines of other text", self.text_lines));
        }
        if !self.keys.listed().is_empty() && self.emitter.records > 0 {
            self.missing_fields(&mut notes);
        }
        match m.unit.filter(|_| m.speaks(Role::BatchSize).is_some()) {
            Some(Unit::AssumedTokens) => notes.push("nothing in the log tells the unit of the batch size; taken as tokens because it is large: say --field batch_tokens=KEY or batch_sequences=KEY".into()),
            Some(Unit::AssumedSequences) => notes.push("nothing in the log tells the unit of the batch size; taken as sequences: say --field batch_tokens=KEY or batch_sequences=KEY".into()),
            _ => {}
        }
        if let Some(seq_len) = m.seq_len {
            notes.push(format!("sequence length {seq_len} tokens, from the token counter"));
        }
        if let Some(name) = &m.seq_len_elsewhere {
            notes.push(format!("the log names no sequence length; taken from beside it: {name}"));
        }
        if !m.other_losses.is_empty() && m.speaks(Role::Loss).is_some() {
            let others = m.other_losses.join(", ");
            notes.push(format!(
                "other keys that could be the training loss: {others} (say --field loss=KEY)"
            ));
        }
        if self.emitter.non_finite > 0 {
            notes.push(format!("{} losses are NaN or infinite", self.emitter.non_finite));
        }
        notes
    }

    fn missing_fields(&self, notes: &mut Vec<String>) {
        let m = &self.emitter.mapping;
        if m.speaks(Role::Loss).is_none() && m.speaks(Role::ValLoss).is_none() {
            notes.push("no key looks like a loss: say --field loss=KEY".into());
        }
        if m.speaks(Role::Step).is_none() {
            notes.push("no key looks like a step: say --field step=KEY".into());
        }
    }
}
