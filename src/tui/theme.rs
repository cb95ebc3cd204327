//! Roles to styles, and characters to what the terminal can show. No colour is named elsewhere.
//!
//! The hues are near those of Okabe and Ito (2008); any two of them stay apart under deuteranopia
//! and protanopia in every theme, which a test computes. No meaning rests on a colour alone: a word or a mark always says the same.

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
        '◆' => "+",
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
        (ThemeName::Dark, Hue::Sky) => 117,
        (ThemeName::Dark, Hue::Green) => 115,
        (ThemeName::Dark, Hue::Blue) => 68,
        (ThemeName::Dark, Hue::Vermillion) => 209,
        (ThemeName::Dark, Hue::Purple) => 175,
        (ThemeName::Dark, Hue::Grey) => 246,
        (ThemeName::Dark, Hue::Faint) => 242,
        (ThemeName::Light, Hue::Orange) => 130,
        (ThemeName::Light, Hue::Sky) => 25,
        (ThemeName::Light, Hue::Green) => 29,
        (ThemeName::Light, Hue::Blue) => 26,
        (ThemeName::Light, Hue::Vermillion) => 88,
        (ThemeName::Light, Hue::Purple) => 96,
        (ThemeName::Light, Hue::Grey) => 241,
        (ThemeName::Light, Hue::Faint) => 245,
        (ThemeName::HighContrast, Hue::Orange) => 220,
        (ThemeName::HighContrast, Hue::Sky) => 45,
        (ThemeName::HighContrast, Hue::Green) => 48,
        (ThemeName::HighContrast, Hue::Blue) => 75,
        (ThemeName::HighContrast, Hue::Vermillion) => 210,
        (ThemeName::HighContrast, Hue::Purple) => 212,
        (ThemeName::HighContrast, Hue::Grey) => 252,
        (ThemeName::HighContrast, Hue::Faint) => 248,
    }
}

fn rgb(hue: Hue, name: ThemeName) -> [u8; 3] {
    match (name, hue) {
        (ThemeName::Dark, Hue::Orange) => [0xe6, 0x9f, 0x00],
        (ThemeName::Dark, Hue::Sky) => [0x6c, 0xc2, 0xf5],
        (ThemeName::Dark, Hue::Green) => [0x00, 0xb0, 0x80],
        (ThemeName::Dark, Hue::Blue) => [0x58, 0x8f, 0xd0],
        (ThemeName::Dark, Hue::Vermillion) => [0xe0, 0x60, 0x20],
        (ThemeName::Dark, Hue::Purple) => [0xcc, 0x79, 0xa7],
        (ThemeName::Dark, Hue::Grey) => [0x94, 0x9a, 0xa2],
        (ThemeName::Dark, Hue::Faint) => [0x66, 0x6c, 0x74],
        (ThemeName::Light, Hue::Orange) => [0xac, 0x63, 0x00],
        (ThemeName::Light, Hue::Sky) => [0x00, 0x62, 0xa0],
        (ThemeName::Light, Hue::Green) => [0x12, 0x7a, 0x57],
        (ThemeName::Light, Hue::Blue) => [0x40, 0x50, 0xc0],
        (ThemeName::Light, Hue::Vermillion) => [0xa1, 0x11, 0x00],
        (ThemeName::Light, Hue::Purple) => [0x9c, 0x40, 0x78],
        (ThemeName::Light, Hue::Grey) => [0x5a, 0x60, 0x68],
        (ThemeName::Light, Hue::Faint) => [0x8a, 0x90, 0x98],
        (ThemeName::HighContrast, Hue::Orange) => [0xff, 0xc8, 0x00],
        (ThemeName::HighContrast, Hue::Sky) => [0x4a, 0xe1, 0xff],
        (ThemeName::HighContrast, Hue::Green) => [0x00, 0xff, 0x90],
        (ThemeName::HighContrast, Hue::Blue) => [0x6e, 0xb1, 0xf5],
        (ThemeName::HighContrast, Hue::Vermillion) => [0xff, 0x87, 0x61],
        (ThemeName::HighContrast, Hue::Purple) => [0xeb, 0x9b, 0xc7],
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

    const NAMES: [ThemeName; 3] = [ThemeName::Dark, ThemeName::Light, ThemeName::HighContrast];
    const HUES: [Hue; 6] =
        [Hue::Orange, Hue::Sky, Hue::Green, Hue::Blue, Hue::Vermillion, Hue::Purple];

    /// Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
    const EYES: [(&str, [[f64; 3]; 3]); 3] = [
        ("usual", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (
            "deuteranopia",
            [
                [0.367_322, 0.860_646, -0.227_968],
                [0.280_085, 0.672_501, 0.047_413],
                [-0.011_820, 0.042_940, 0.968_881],
            ],
        ),
        (
            "protanopia",
            [
                [0.152_286, 1.052_583, -0.204_868],
                [0.114_503, 0.786_281, 0.099_216],
                [-0.003_882, -0.048_116, 1.051_998],
            ],
        ),
    ];

    fn linear(rgb: [u8; 3]) -> [f64; 3] {
        rgb.map(|v| match f64::from(v) / 255.0 {
            v if v <= 0.04045 => v / 12.92,
            v => ((v + 0.055) / 1.055).powf(2.4),
        })
    }

    fn times(matrix: [[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(v).map(|(m, x)| m * x).sum())
    }

    /// CIE L*a*b* under D65, in which a distance of 2.3 is just seen.
    fn lab(rgb: [f64; 3]) -> [f64; 3] {
        let to_xyz = [
            [0.412_456, 0.357_576, 0.180_437],
            [0.212_673, 0.715_152, 0.072_175],
            [0.019_334, 0.119_192, 0.950_304],
        ];
        let [x, y, z] = times(to_xyz, rgb.map(|v| v.clamp(0.0, 1.0)));
        let f = |t: f64| match t > 216.0 / 24389.0 {
            true => t.cbrt(),
            false => (24389.0 / 27.0 * t + 16.0) / 116.0,
        };
        let [x, y, z] = [f(x / 0.950_47), f(y), f(z / 1.088_83)];
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    /// A colour of the cube or the ramp of the 256.
    fn of_256(i: u8) -> [u8; 3] {
        if i >= 232 {
            return [8 + 10 * (i - 232); 3];
        }
        let step = |n: u8| [0, 95, 135, 175, 215, 255][usize::from(n)];
        let i = i - 16;
        [step(i / 36), step(i / 6 % 6), step(i % 6)]
    }

    fn both(hue: Hue, name: ThemeName) -> [(&'static str, [u8; 3]); 2] {
        [("rgb", rgb(hue, name)), ("256", of_256(indexed(hue, name)))]
    }

    #[test]
    fn any_two_hues_stay_apart_for_colour_blind_eyes() {
        for name in NAMES {
            for (eye, matrix) in EYES {
                for (i, a) in HUES.into_iter().enumerate() {
                    for b in HUES.into_iter().skip(i + 1) {
                        for ((depth, p), (_, q)) in both(a, name).into_iter().zip(both(b, name)) {
                            let seen = |c| lab(times(matrix, linear(c)));
                            let (p, q) = (seen(p), seen(q));
                            let apart = (0..3).map(|i| (p[i] - q[i]).powi(2)).sum::<f64>().sqrt();
                            assert!(
                                apart > 12.0,
                                "{name:?} {depth} {eye}: {a:?} and {b:?} are {apart:.1} apart"
                            );
                        }
                    }
                }
            }
        }
    }

    /// WCAG 2: 4.5 for text, 3 for lines; 6 where contrast was asked for.
    #[test]
    fn everything_stands_out_from_the_background() {
        let bright = |c| {
            0.2126f64.mul_add(linear(c)[0], 0.7152f64.mul_add(linear(c)[1], 0.0722 * linear(c)[2]))
        };
        for name in NAMES {
            let ground = if name == ThemeName::Light { [255; 3] } else { [0x1e; 3] };
            for hue in HUES.into_iter().chain([Hue::Grey, Hue::Faint]) {
                for (depth, c) in both(hue, name) {
                    let (a, b) = (bright(c) + 0.05, bright(ground) + 0.05);
                    let contrast = (a / b).max(b / a);
                    let least = match (name, hue) {
                        (ThemeName::HighContrast, _) => 6.0,
                        (_, Hue::Faint) => 3.0,
                        _ => 4.5,
                    };
                    assert!(contrast >= least, "{name:?} {depth} {hue:?}: {contrast:.2}");
                }
            }
        }
    }
}
