//! Roles to styles, and characters to what the terminal can show. No colour is named elsewhere.
//!
//! The hues are those of Okabe and Ito (2008), which stay apart under deuteranopia and protanopia;
//! no meaning rests on a colour alone: a word or a mark always says the same.

use super::settings::{ColorDepth, Settings, ThemeName};
use super::{App, Snapshot};
use ratatui::style::{Color, Modifier, Style};
use std::borrow::Cow;

/// What a piece of the screen is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Text,
    Dim,
    Strong,
    Heading,
    Selected,
    TabActive,
    Key,
    Good,
    Warn,
    Bad,
    Hold,
    Raise,
    Lower,
    Unknown,
    Axis,
    /// Rays, 2 % marks, thresholds: helping lines.
    Guide,
    /// The model that speaks, the loss.
    Curve,
    /// The other models, the validation loss.
    Other,
    /// Measured points.
    Point,
    BatchNow,
    BatchOpt,
    /// What is planned and not yet real.
    Planned,
    /// Ground under the phases of a plot that are not stable.
    Shade,
}

#[derive(Debug, Clone, Copy)]
enum Hue {
    Orange,
    Sky,
    Green,
    Blue,
    Vermillion,
    Purple,
    Grey,
    Faint,
}

/// How things are written on this terminal.
#[derive(Debug, Clone)]
pub(crate) struct Theme {
    pub depth: ColorDepth,
    pub name: ThemeName,
    pub ascii: bool,
    /// Plots are made of half blocks: a font may lack braille.
    pub half_blocks: bool,
    pub zone: jiff::tz::TimeZone,
}

/// All that a view needs to draw itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub snapshot: &'a Snapshot,
    pub app: &'a App,
    pub theme: &'a Theme,
}

impl Theme {
    pub fn new(settings: &Settings) -> Self {
        Theme {
            depth: if settings.no_color { ColorDepth::None } else { settings.depth },
            name: settings.theme,
            ascii: settings.ascii,
            half_blocks: settings.half_blocks,
            zone: jiff::tz::TimeZone::system(),
        }
    }

    /// No colour, UTC: the same on every machine.
    pub fn plain() -> Self {
        Theme {
            depth: ColorDepth::None,
            name: ThemeName::Dark,
            ascii: false,
            half_blocks: false,
            zone: jiff::tz::TimeZone::UTC,
        }
    }

    pub fn style(&self, role: Role) -> Style {
        let plain = Style::default();
        let bold = plain.add_modifier(Modifier::BOLD);
        match role {
            Role::Text => plain,
            Role::Strong => bold,
            Role::Dim | Role::Axis => self.hue(Hue::Grey),
            Role::Guide => self.hue(Hue::Faint),
            Role::Heading => self.hue(Hue::Grey).add_modifier(Modifier::BOLD),
            Role::Selected => self.selected(),
            Role::TabActive => bold.add_modifier(Modifier::REVERSED),
            Role::Key => bold,
            Role::Good | Role::Hold => self.hue(Hue::Green),
            Role::Raise => self.hue(Hue::Orange).add_modifier(Modifier::BOLD),
            Role::Lower => self.hue(Hue::Sky).add_modifier(Modifier::BOLD),
            Role::Unknown => self.hue(Hue::Grey),
            Role::Warn => self.hue(Hue::Orange),
            Role::Bad => self.hue(Hue::Vermillion).add_modifier(Modifier::BOLD),
            Role::Curve => self.hue(Hue::Sky).add_modifier(Modifier::BOLD),
            Role::Other => self.hue(Hue::Purple),
            Role::Point => bold,
            Role::BatchNow => self.hue(Hue::Orange).add_modifier(Modifier::BOLD),
            Role::BatchOpt => self.hue(Hue::Green),
            Role::Planned => self.hue(Hue::Blue),
            Role::Shade => self.shade(),
        }
    }

    /// The ground of a picture that leaves the terminal.
    pub const PAPER: &str = "#ffffff";

    /// The colour of a role on that ground, as `#rrggbb`.
    pub fn ink(role: Role) -> String {
        let theme = Theme { depth: ColorDepth::Rgb, name: ThemeName::Light, ..Theme::plain() };
        match theme.style(role).fg {
            Some(Color::Rgb(r, g, b)) => format!("#{r:02x}{g:02x}{b:02x}"),
            _ => "#1c2024".into(),
        }
    }

    /// A ground that is just told from the terminal's own; words say the same where there is none.
    fn shade(&self) -> Style {
        let plain = Style::default();
        match (self.depth, self.name) {
            (ColorDepth::Rgb, ThemeName::Light) => plain.bg(Color::Rgb(0xee, 0xee, 0xea)),
            (ColorDepth::Rgb, _) => plain.bg(Color::Rgb(0x22, 0x24, 0x28)),
            (ColorDepth::Ansi256, ThemeName::Light) => plain.bg(Color::Indexed(255)),
            (ColorDepth::Ansi256, _) => plain.bg(Color::Indexed(235)),
            _ => plain,
        }
    }

    fn selected(&self) -> Style {
        let bold = Style::default().add_modifier(Modifier::BOLD);
        match (self.depth, self.name) {
            (ColorDepth::Rgb, ThemeName::Dark) => bold.bg(Color::Rgb(0x33, 0x3a, 0x44)),
            (ColorDepth::Rgb, ThemeName::Light) => bold.bg(Color::Rgb(0xdd, 0xe6, 0xee)),
            (ColorDepth::Ansi256, ThemeName::Dark) => bold.bg(Color::Indexed(237)),
            (ColorDepth::Ansi256, ThemeName::Light) => bold.bg(Color::Indexed(254)),
            _ => bold.add_modifier(Modifier::REVERSED),
        }
    }

    fn hue(&self, hue: Hue) -> Style {
        let dim = Style::default().add_modifier(Modifier::DIM);
        match (self.depth, hue) {
            (ColorDepth::None, Hue::Grey | Hue::Faint) => dim,
            (ColorDepth::None, _) => Style::default(),
            // Bright black is the background of some palettes: dim is never invisible.
            (ColorDepth::Ansi16, Hue::Grey | Hue::Faint) => dim,
            (ColorDepth::Ansi16, hue) => Style::default().fg(ansi(hue)),
            (ColorDepth::Ansi256, hue) => {
                Style::default().fg(Color::Indexed(indexed(hue, self.name)))
            }
            (ColorDepth::Rgb, hue) => {
                let [r, g, b] = rgb(hue, self.name);
                Style::default().fg(Color::Rgb(r, g, b))
            }
        }
    }

    /// Text that may be drawn: control and bidirectional characters gone, ASCII where asked.
    pub fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '\t' | '\n' | '\r' => out.push(' '),
                c if c.is_control() || reorders(c) => {}
                c if self.ascii && !c.is_ascii() => out.push_str(ascii(c)),
                c => out.push(c),
            }
        }
        Cow::Owned(out)
    }
}

/// Characters that change the order or the place of others without being seen.
fn reorders(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

fn ascii(c: char) -> &'static str {
    match c {
        '≤' => "<=",
        '≥' => ">=",
        '→' => "->",
        '…' => "~",
        '·' => "|",
        '×' => "x",
        '±' => "+/-",
        '─' | '━' | '–' => "-",
        '│' | '┃' | '├' | '┤' => "|",
        '┌' | '┐' | '└' | '┘' | '┴' | '┬' | '┼' | '┿' | '╌' => "+",
        '▲' => "^",
        '▼' => "v",
        '▸' => ">",
        '◂' => "<",
        '●' => "*",
        '○' => "o",
        '◐' => "~",
        '◌' => ".",
        '■' => "#",
        '↻' => "@",
        '✓' => "+",
        '✗' => "x",
        '✕' => "X",
        '▁' => "_",
        '▂' => ".",
        '▃' => ",",
        '▄' => "-",
        '▅' => "=",
        '▆' => "+",
        '▇' => "*",
        '█' => "#",
        _ => "?",
    }
}

fn ansi(hue: Hue) -> Color {
    match hue {
        Hue::Orange => Color::Yellow,
        Hue::Sky => Color::Cyan,
        Hue::Green => Color::Green,
        Hue::Blue => Color::Blue,
        Hue::Vermillion => Color::Red,
        Hue::Purple => Color::Magenta,
        Hue::Grey | Hue::Faint => Color::Reset,
    }
}

fn indexed(hue: Hue, name: ThemeName) -> u8 {
    match (name, hue) {
        (ThemeName::Dark, Hue::Orange) => 214,
        (ThemeName::Dark, Hue::Sky) => 74,
        (ThemeName::Dark, Hue::Green) => 36,
        (ThemeName::Dark, Hue::Blue) => 68,
        (ThemeName::Dark, Hue::Vermillion) => 166,
        (ThemeName::Dark, Hue::Purple) => 175,
        (ThemeName::Dark, Hue::Grey) => 246,
        (ThemeName::Dark, Hue::Faint) => 241,
        (ThemeName::Light, Hue::Orange) => 130,
        (ThemeName::Light, Hue::Sky) => 25,
        (ThemeName::Light, Hue::Green) => 29,
        (ThemeName::Light, Hue::Blue) => 62,
        (ThemeName::Light, Hue::Vermillion) => 160,
        (ThemeName::Light, Hue::Purple) => 133,
        (ThemeName::Light, Hue::Grey) => 241,
        (ThemeName::Light, Hue::Faint) => 247,
        (ThemeName::HighContrast, Hue::Orange) => 220,
        (ThemeName::HighContrast, Hue::Sky) => 51,
        (ThemeName::HighContrast, Hue::Green) => 48,
        (ThemeName::HighContrast, Hue::Blue) => 117,
        (ThemeName::HighContrast, Hue::Vermillion) => 203,
        (ThemeName::HighContrast, Hue::Purple) => 219,
        (ThemeName::HighContrast, Hue::Grey) => 252,
        (ThemeName::HighContrast, Hue::Faint) => 248,
    }
}

fn rgb(hue: Hue, name: ThemeName) -> [u8; 3] {
    match (name, hue) {
        (ThemeName::Dark, Hue::Orange) => [0xe6, 0x9f, 0x00],
        (ThemeName::Dark, Hue::Sky) => [0x56, 0xb4, 0xe9],
        (ThemeName::Dark, Hue::Green) => [0x00, 0xb0, 0x80],
        (ThemeName::Dark, Hue::Blue) => [0x5a, 0x8f, 0xd0],
        (ThemeName::Dark, Hue::Vermillion) => [0xe0, 0x60, 0x20],
        (ThemeName::Dark, Hue::Purple) => [0xcc, 0x79, 0xa7],
        (ThemeName::Dark, Hue::Grey) => [0x94, 0x9a, 0xa2],
        (ThemeName::Dark, Hue::Faint) => [0x62, 0x68, 0x70],
        (ThemeName::Light, Hue::Orange) => [0xa8, 0x60, 0x00],
        (ThemeName::Light, Hue::Sky) => [0x00, 0x62, 0xa0],
        (ThemeName::Light, Hue::Green) => [0x00, 0x76, 0x56],
        (ThemeName::Light, Hue::Blue) => [0x40, 0x50, 0xc0],
        (ThemeName::Light, Hue::Vermillion) => [0xc0, 0x30, 0x00],
        (ThemeName::Light, Hue::Purple) => [0x9c, 0x40, 0x78],
        (ThemeName::Light, Hue::Grey) => [0x5a, 0x60, 0x68],
        (ThemeName::Light, Hue::Faint) => [0x98, 0x9e, 0xa6],
        (ThemeName::HighContrast, Hue::Orange) => [0xff, 0xc8, 0x00],
        (ThemeName::HighContrast, Hue::Sky) => [0x40, 0xe0, 0xff],
        (ThemeName::HighContrast, Hue::Green) => [0x00, 0xff, 0x90],
        (ThemeName::HighContrast, Hue::Blue) => [0x90, 0xc8, 0xff],
        (ThemeName::HighContrast, Hue::Vermillion) => [0xff, 0x60, 0x50],
        (ThemeName::HighContrast, Hue::Purple) => [0xff, 0xb0, 0xe0],
        (ThemeName::HighContrast, Hue::Grey) => [0xd8, 0xd8, 0xd8],
        (ThemeName::HighContrast, Hue::Faint) => [0xa8, 0xa8, 0xa8],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_dangerous_passes() {
        let t = Theme::plain();
        assert_eq!(t.clean("run\u{1b}[31m\u{7}\nx\u{202e}y"), "run[31m xy");
        let a = Theme { ascii: true, ..Theme::plain() };
        assert_eq!(a.clean("B ≤ 16 → ürün"), "B <= 16 -> ?r?n");
    }

    #[test]
    fn without_colour_no_colour_is_set() {
        let t = Theme::plain();
        for role in [Role::Bad, Role::Raise, Role::Curve, Role::Dim, Role::Selected, Role::Axis] {
            let s = t.style(role);
            assert_eq!((s.fg, s.bg), (None, None), "{role:?}");
        }
    }

    /// Linear RGB, then Machado, Oliveira and Fernandes (2009), severity 1.
    fn seen_by(matrix: [[f64; 3]; 3], [r, g, b]: [u8; 3]) -> [f64; 3] {
        let lin = [r, g, b].map(|v| (f64::from(v) / 255.0).powf(2.2));
        matrix.map(|row| {
            row.iter().zip(lin).map(|(m, v)| m * v).sum::<f64>().clamp(0.0, 1.0).powf(1.0 / 2.2)
        })
    }

    #[test]
    fn hues_that_are_told_apart_stay_apart_for_colour_blind_eyes() {
        let deutan = [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ];
        let protan = [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ];
        let pairs = [
            (Hue::Orange, Hue::Sky),
            (Hue::Orange, Hue::Green),
            (Hue::Sky, Hue::Vermillion),
            (Hue::Sky, Hue::Purple),
            (Hue::Green, Hue::Vermillion),
        ];
        for name in [ThemeName::Dark, ThemeName::Light, ThemeName::HighContrast] {
            for (a, b) in pairs {
                for m in [deutan, protan] {
                    let (p, q) = (seen_by(m, rgb(a, name)), seen_by(m, rgb(b, name)));
                    let d = p.iter().zip(q).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
                    assert!(d > 0.12, "{name:?}: {a:?} and {b:?} are {d:.3} apart");
                }
            }
        }
    }
}
