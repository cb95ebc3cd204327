//! A key as the terminal sends it and as people write it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub code: KeyCode,
    pub ctrl: bool,
    pub shift: bool,
}

pub(crate) const fn ch(c: char) -> Key {
    Key { code: KeyCode::Char(c), ctrl: false, shift: false }
}

pub(crate) const fn ctrl(c: char) -> Key {
    Key { code: KeyCode::Char(c), ctrl: true, shift: false }
}

pub(crate) const fn key(code: KeyCode) -> Key {
    Key { code, ctrl: false, shift: false }
}

pub(crate) const fn shift(code: KeyCode) -> Key {
    Key { code, ctrl: false, shift: true }
}

impl Key {
    /// A key event; with shift only where the character does not say it already.
    pub fn from_event(e: &KeyEvent) -> Key {
        let shifted = e.modifiers.contains(KeyModifiers::SHIFT);
        let plain = matches!(e.code, KeyCode::Char(_) | KeyCode::BackTab);
        Key {
            code: e.code,
            ctrl: e.modifiers.contains(KeyModifiers::CONTROL),
            shift: shifted && !plain,
        }
    }

    pub fn name(&self) -> String {
        let base = match self.code {
            KeyCode::Char(' ') => "Space".into(),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::BackTab => "Shift-Tab".into(),
            KeyCode::PageDown => "PgDn".into(),
            KeyCode::PageUp => "PgUp".into(),
            other => format!("{other:?}"),
        };
        let shift = if self.shift { "Shift-" } else { "" };
        let ctrl = if self.ctrl { "Ctrl-" } else { "" };
        format!("{ctrl}{shift}{base}")
    }

    /// Reads what [`Key::name`] writes.
    pub fn parse(name: &str) -> Option<Key> {
        let listed = super::keymap::KEYS.iter().flat_map(|b| b.keys).find(|k| k.name() == name);
        let mut chars = name.chars();
        listed.copied().or(match (chars.next(), chars.next()) {
            (Some(c), None) => Some(ch(c)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capital_letters_do_not_depend_on_the_shift_flag() {
        let e = KeyEvent::new(KeyCode::Char('Y'), KeyModifiers::SHIFT);
        assert_eq!(Key::from_event(&e), ch('Y'));
        let e = KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT);
        assert_eq!(Key::from_event(&e), key(KeyCode::BackTab));
    }
}
