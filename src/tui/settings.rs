//! What the terminal can do and what the user wants of it.

/// How many colours may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ColorDepth {
    /// Bold, dim and reverse only.
    None,
    Ansi16,
    #[default]
    Ansi256,
    Rgb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ThemeName {
    /// Colour-blind-safe hues (after Okabe and Ito) on a dark background.
    #[default]
    Dark,
    /// The same hues, darker, on a light background.
    Light,
    HighContrast,
}

impl ThemeName {
    pub(crate) fn next(self) -> ThemeName {
        match self {
            ThemeName::Dark => ThemeName::Light,
            ThemeName::Light => ThemeName::HighContrast,
            ThemeName::HighContrast => ThemeName::Dark,
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            ThemeName::Dark => "dark",
            ThemeName::Light => "light",
            ThemeName::HighContrast => "high contrast",
        }
    }
}

/// When a frame is wrapped in synchronized output (mode 2026).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncOutput {
    Never,
    /// Only where the whole screen is sent: some multiplexers resend a whole pane at each such
    /// frame.
    #[default]
    FullRedraws,
    Always,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// No character beyond ASCII is drawn.
    pub ascii: bool,
    /// Plots are made of half blocks: a font may lack braille.
    pub half_blocks: bool,
    /// Overrides `depth`.
    pub no_color: bool,
    pub depth: ColorDepth,
    pub theme: ThemeName,
    pub mouse: bool,
    pub sync_output: SyncOutput,
    /// The bell rings when a verdict changes.
    pub bell: bool,
    /// Ids of runs that stand on top of the overview.
    pub pinned: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            ascii: false,
            half_blocks: false,
            no_color: false,
            depth: ColorDepth::default(),
            theme: ThemeName::default(),
            mouse: true,
            sync_output: SyncOutput::default(),
            bell: false,
            pinned: Vec::new(),
        }
    }
}

impl Settings {
    /// From `NO_COLOR`, `COLORTERM`, `TERM`, `COLORFGBG` and the locale.
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    fn from_lookup(get: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| get(name).unwrap_or_default();
        let term = get("TERM");
        let depth = match (get("COLORTERM").as_str(), term.as_str()) {
            ("truecolor" | "24bit", _) => ColorDepth::Rgb,
            (_, "dumb" | "vt100") => ColorDepth::None,
            (_, t) if t.contains("256") || t.contains("kitty") => ColorDepth::Ansi256,
            _ => ColorDepth::Ansi16,
        };
        // The last field of COLORFGBG is the background: 7 and 15 are the whites.
        let light = matches!(get("COLORFGBG").rsplit(';').next(), Some("7" | "15"));
        Settings {
            ascii: ascii_locale(&get) || matches!(term.as_str(), "linux" | "dumb" | "vt100"),
            no_color: !get("NO_COLOR").is_empty(),
            depth,
            theme: if light { ThemeName::Light } else { ThemeName::Dark },
            ..Settings::default()
        }
    }
}

/// Whether the locale names an encoding other than UTF-8. An unset locale (containers) does not.
fn ascii_locale(get: &impl Fn(&str) -> String) -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"].iter().map(|n| get(n)).find(|v| !v.is_empty()).is_some_and(|v| {
        let v = v.to_ascii_lowercase();
        !(v.contains("utf-8") || v.contains("utf8"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(vars: &[(&str, &str)]) -> Settings {
        Settings::from_lookup(|n| vars.iter().find(|v| v.0 == n).map(|v| v.1.to_string()))
    }

    #[test]
    fn the_environment_decides_colours_and_characters() {
        let s = with(&[("TERM", "xterm-256color"), ("LANG", "en_US.UTF-8")]);
        assert_eq!((s.depth, s.ascii, s.no_color), (ColorDepth::Ansi256, false, false));
        assert_eq!(with(&[("COLORTERM", "truecolor")]).depth, ColorDepth::Rgb);
        assert_eq!(with(&[("TERM", "xterm")]).depth, ColorDepth::Ansi16);
        assert!(with(&[("NO_COLOR", "1")]).no_color);
        assert!(!with(&[("NO_COLOR", "")]).no_color);
        assert!(with(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]).ascii);
        assert!(with(&[("TERM", "linux")]).ascii);
        assert!(!with(&[]).ascii);
        assert_eq!(with(&[("COLORFGBG", "0;15")]).theme, ThemeName::Light);
    }
}
