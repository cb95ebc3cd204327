//! Every key, declared once: dispatch, help, footer and the README's table are made from
//! [`KEYS`].

use super::app::{App, Popup, View};
pub(crate) use super::key::Key;
use super::key::{ch, ctrl, key, shift};
use crate::snapshot::Snapshot;
use crossterm::event::KeyCode;

/// What a key or the mouse asks of the screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Action {
    Quit,
    Suspend,
    Redraw,
    Copy,
    CopyMegatron,
    Help,
    Back,
    Show(View),
    NextView,
    PrevView,
    Down,
    Up,
    PageDown,
    PageUp,
    First,
    Last,
    Open,
    SelectRow(usize),
    NextRun,
    PrevRun,
    Filter,
    Type(char),
    Erase,
    EraseAll,
    FilterDone,
    FilterCancel,
    SortNext,
    SortReverse,
    SortBy(super::app::SortKey),
    Exclude,
    Pin,
    Group,
    NextTheme,
    LowerLevel,
    HigherLevel,
    NextGroup,
    PrevGroup,
    ToggleModel,
    ToggleModels,
    NextPlot,
    ZoomIn,
    ZoomOut,
    ZoomReset,
    PanLeft,
    PanRight,
    PanUp,
    PanDown,
    FlipX,
    FlipY,
    Smoother,
    Rougher,
    Cursor,
    /// By so many steps to the right.
    CursorStep(i8),
    Picture,
    ProposePlan,
    ProposeLarger,
    ProposeSmaller,
    ProposeUnitMore,
    ProposeUnitLess,
    ProposeUndo,
    ProposeLater,
    ProposeEarlier,
    Withdraw,
    Review,
    Override(u8),
    Write,
    Pause,
    Step,
    Faster,
    Slower,
    SeekBack,
    SeekForward,
    SeekBackFar,
    SeekForwardFar,
    NextChange,
    PreviousChange,
    /// To thousandths of the record.
    SeekTo(u16),
    SeekPrompt,
    SeekDone,
    SeekCancel,
}

/// Where a key means what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Context {
    Everywhere,
    Overview,
    Run,
    Curve,
    Schedule,
    Control,
    Problems,
    Plot,
    Cursor,
    Replay,
    Seek,
    Filter,
    Help,
    Approval,
}

impl Context {
    pub fn title(self) -> &'static str {
        match self {
            Context::Everywhere => "everywhere",
            Context::Overview => "overview",
            Context::Run => "run",
            Context::Curve => "curve",
            Context::Schedule => "schedule",
            Context::Control => "control",
            Context::Problems => "problems",
            Context::Plot => "plots",
            Context::Cursor => "plot cursor",
            Context::Replay => "replay",
            Context::Seek => "while seeking",
            Context::Filter => "while filtering",
            Context::Help => "help",
            Context::Approval => "approval",
        }
    }

    pub fn of(view: View) -> Context {
        match view {
            View::Overview => Context::Overview,
            View::Run => Context::Run,
            View::Curve => Context::Curve,
            View::Schedule => Context::Schedule,
            View::Control => Context::Control,
            View::Problems => Context::Problems,
        }
    }
}

const UP: Key = key(KeyCode::Up);
const DOWN: Key = key(KeyCode::Down);
const LEFT: Key = key(KeyCode::Left);
const RIGHT: Key = key(KeyCode::Right);
const ENTER: Key = key(KeyCode::Enter);
const ESC: Key = key(KeyCode::Esc);

#[derive(Debug)]
pub(crate) struct Binding {
    pub context: Context,
    pub keys: &'static [Key],
    pub action: Action,
    /// One or two words for the footer; empty: only in the help.
    pub short: &'static str,
    pub words: &'static str,
}

const fn b(
    context: Context,
    keys: &'static [Key],
    action: Action,
    short: &'static str,
    words: &'static str,
) -> Binding {
    Binding { context, keys, action, short, words }
}

use Action as A;
use Context as C;

#[rustfmt::skip]
pub(crate) const KEYS: &[Binding] = &[
    b(C::Everywhere, &[ch('?')], A::Help, "help", "this help"),
    b(C::Everywhere, &[ch('q')], A::Quit, "quit", "quit; runs and fits are not touched"),
    b(C::Everywhere, &[ctrl('c')], A::Quit, "", "quit"),
    b(C::Everywhere, &[ESC], A::Back, "", "back to the overview; there: clear the filter"),
    b(C::Everywhere, &[key(KeyCode::Tab)], A::NextView, "", "next screen"),
    b(C::Everywhere, &[key(KeyCode::BackTab)], A::PrevView, "", "previous screen"),
    b(C::Everywhere, &[ch('1')], A::Show(View::Overview), "", "overview: all runs"),
    b(C::Everywhere, &[ch('2')], A::Show(View::Run), "", "run: loss and batch size over tokens"),
    b(C::Everywhere, &[ch('3')], A::Show(View::Curve), "", "curve: E(S) at one loss level"),
    b(C::Everywhere, &[ch('4')], A::Show(View::Schedule), "", "schedule: policies, proposal, approval"),
    b(C::Everywhere, &[ch('5')], A::Show(View::Control), "", "control: what was written and acknowledged"),
    b(C::Everywhere, &[ch('6')], A::Show(View::Problems), "", "problems: bad lines and files"),
    b(C::Everywhere, &[ch('y')], A::Copy, "", "copy through the terminal: the schedule on its screen, else the verdict"),
    b(C::Everywhere, &[ch('e')], A::Picture, "", "write the plot as a picture (SVG) into the working directory"),
    b(C::Everywhere, &[ch('T')], A::NextTheme, "", "colours: dark, light, high contrast"),
    b(C::Everywhere, &[ctrl('z')], A::Suspend, "", "suspend to the shell"),
    b(C::Everywhere, &[ctrl('l')], A::Redraw, "", "draw the screen anew"),

    b(C::Overview, &[ch('j'), DOWN], A::Down, "", "next run"),
    b(C::Overview, &[ch('k'), UP], A::Up, "", "previous run"),
    b(C::Overview, &[ctrl('d'), key(KeyCode::PageDown)], A::PageDown, "", "a page down"),
    b(C::Overview, &[ctrl('u'), key(KeyCode::PageUp)], A::PageUp, "", "a page up"),
    b(C::Overview, &[ch('g'), key(KeyCode::Home)], A::First, "", "first run"),
    b(C::Overview, &[ch('G'), key(KeyCode::End)], A::Last, "", "last run"),
    b(C::Overview, &[ENTER], A::Open, "open", "open the run"),
    b(C::Overview, &[ch('/')], A::Filter, "filter", "filter by id, group, state, phase, verdict"),
    b(C::Overview, &[ch('s')], A::SortNext, "sort", "sort by the next column"),
    b(C::Overview, &[ch('S')], A::SortReverse, "", "reverse the order"),
    b(C::Overview, &[ch('x')], A::Exclude, "leave out", "leave the run out of the fits, or take it in"),
    b(C::Overview, &[ch('p')], A::Pin, "pin", "keep the run on top, or let it go"),
    b(C::Overview, &[ch('t')], A::Group, "groups", "runs by group (learning rate), or in one list"),

    b(C::Run, &[ch('l'), RIGHT], A::NextRun, "next run", "next run"),
    b(C::Run, &[ch('h'), LEFT], A::PrevRun, "", "previous run"),
    b(C::Run, &[ch('s')], A::Smoother, "smooth", "smooth the loss more"),
    b(C::Run, &[ch('S')], A::Rougher, "", "smooth it less"),

    b(C::Curve, &[ch(']'), ch('l'), RIGHT], A::LowerLevel, "lower loss", "next lower loss level"),
    b(C::Curve, &[ch('['), ch('h'), LEFT], A::HigherLevel, "higher", "next higher loss level"),
    b(C::Curve, &[ch('}')], A::NextGroup, "group", "next group (learning rate)"),
    b(C::Curve, &[ch('{')], A::PrevGroup, "", "previous group"),
    b(C::Curve, &[ch('j'), DOWN], A::Down, "", "next model in the list"),
    b(C::Curve, &[ch('k'), UP], A::Up, "", "previous model"),
    b(C::Curve, &[ENTER], A::ToggleModel, "", "show or hide that model's curve"),
    b(C::Curve, &[ch('m')], A::ToggleModels, "models", "show all models, or the one that speaks"),
    b(C::Curve, &[ch('p')], A::NextPlot, "plot", "the next plot: curve, residuals, B_opt over the loss, B_opt over tokens"),

    b(C::Schedule, &[ch('p')], A::ProposePlan, "propose", "propose the planned schedule"),
    b(C::Schedule, &[ch('+'), ch('=')], A::ProposeLarger, "2B", "propose twice the batch size"),
    b(C::Schedule, &[ch('-')], A::ProposeSmaller, "B/2", "propose half the batch size"),
    b(C::Schedule, &[ch(']')], A::ProposeUnitMore, "", "propose a unit of the trainer more"),
    b(C::Schedule, &[ch('[')], A::ProposeUnitLess, "", "propose a unit of the trainer less"),
    b(C::Schedule, &[ch('}')], A::ProposeLater, "", "move the proposed change, and what follows it, later by 5 % of the tokens so far"),
    b(C::Schedule, &[ch('{')], A::ProposeEarlier, "", "move them earlier, down to the lead time"),
    b(C::Schedule, &[ch('u')], A::ProposeUndo, "undo", "propose to undo the newest revision"),
    b(C::Schedule, &[ch('w')], A::Withdraw, "", "withdraw the proposal"),
    b(C::Schedule, &[ch('a')], A::Review, "approve", "look at the proposal and approve it"),
    b(C::Schedule, &[ch('M')], A::CopyMegatron, "", "copy it as Megatron-LM's --step-batch-size-schedule"),
    b(C::Schedule, &[ch('j'), DOWN], A::Down, "", "next policy"),
    b(C::Schedule, &[ch('k'), UP], A::Up, "", "previous policy"),
    b(C::Schedule, &[ch('l'), RIGHT], A::NextRun, "", "next run"),
    b(C::Schedule, &[ch('h'), LEFT], A::PrevRun, "", "previous run"),

    b(C::Control, &[ch('l'), RIGHT], A::NextRun, "next run", "next run"),
    b(C::Control, &[ch('h'), LEFT], A::PrevRun, "", "previous run"),
    b(C::Control, &[ch('k'), UP], A::Up, "older", "older lines"),
    b(C::Control, &[ch('j'), DOWN], A::Down, "newer", "newer lines"),
    b(C::Control, &[ch('G'), key(KeyCode::End)], A::Last, "", "newest line"),
    b(C::Control, &[ch('g'), key(KeyCode::Home)], A::First, "", "oldest line"),

    b(C::Problems, &[ch('j'), DOWN], A::Down, "scroll", "further down"),
    b(C::Problems, &[ch('k'), UP], A::Up, "", "further up"),
    b(C::Problems, &[ctrl('d'), key(KeyCode::PageDown)], A::PageDown, "", "a page down"),
    b(C::Problems, &[ctrl('u'), key(KeyCode::PageUp)], A::PageUp, "", "a page up"),
    b(C::Problems, &[ch('g'), key(KeyCode::Home)], A::First, "", "to the top"),

    b(C::Plot, &[ch('z')], A::ZoomIn, "zoom", "zoom in, about the cursor if there is one"),
    b(C::Plot, &[ch('Z')], A::ZoomOut, "", "zoom out"),
    b(C::Plot, &[ch('0')], A::ZoomReset, "", "show all of it"),
    b(C::Plot, &[ch('H')], A::PanLeft, "", "move what is shown to the left"),
    b(C::Plot, &[ch('L')], A::PanRight, "", "to the right"),
    b(C::Plot, &[ch('K')], A::PanUp, "", "upwards"),
    b(C::Plot, &[ch('J')], A::PanDown, "", "downwards"),
    b(C::Plot, &[ch('x')], A::FlipX, "", "log or linear axis to the right"),
    b(C::Plot, &[ch('v')], A::FlipY, "", "log or linear axis upwards"),
    b(C::Plot, &[ch('c')], A::Cursor, "cursor", "a cursor that reads the exact values, or none"),

    b(C::Cursor, &[ch('l'), RIGHT], A::CursorStep(1), "move", "cursor to the right"),
    b(C::Cursor, &[ch('h'), LEFT], A::CursorStep(-1), "", "cursor to the left"),
    b(C::Cursor, &[ch('w')], A::CursorStep(10), "", "further to the right"),
    b(C::Cursor, &[ch('b')], A::CursorStep(-10), "", "further to the left"),
    b(C::Cursor, &[ESC], A::Cursor, "no cursor", "no cursor"),

    b(C::Replay, &[ch(' ')], A::Pause, "pause", "pause, or play on"),
    b(C::Replay, &[ch('.')], A::Step, "step", "one recorded line further"),
    b(C::Replay, &[ch('>')], A::Faster, "speed", "twice as fast"),
    b(C::Replay, &[ch('<')], A::Slower, "", "half as fast"),
    b(C::Replay, &[RIGHT], A::SeekForward, "seek", "1 % forward"),
    b(C::Replay, &[LEFT], A::SeekBack, "", "1 % back"),
    b(C::Replay, &[shift(KeyCode::Right), ch(')')], A::SeekForwardFar, "", "10 % forward"),
    b(C::Replay, &[shift(KeyCode::Left), ch('(')], A::SeekBackFar, "", "10 % back"),

    b(C::Replay, &[ch('n')], A::NextChange, "change", "on to the next decision or bump, and pause there"),
    b(C::Replay, &[ch('N')], A::PreviousChange, "", "back to the last one"),
    b(C::Replay, &[ch(':')], A::SeekPrompt, "", "to a place: 16M (tokens of the first run), 40%, or 90m (after the beginning)"),

    b(C::Seek, &[ENTER], A::SeekDone, "go", "go there"),
    b(C::Seek, &[ESC, ctrl('c')], A::SeekCancel, "stay", "stay"),
    b(C::Seek, &[key(KeyCode::Backspace), ctrl('h')], A::Erase, "", "erase a character"),
    b(C::Seek, &[ctrl('u')], A::EraseAll, "", "erase all"),

    b(C::Filter, &[ENTER], A::FilterDone, "keep", "keep the filter"),
    b(C::Filter, &[ESC, ctrl('c')], A::FilterCancel, "clear", "clear the filter"),
    b(C::Filter, &[key(KeyCode::Backspace), ctrl('h')], A::Erase, "", "erase a character"),
    b(C::Filter, &[ctrl('u')], A::EraseAll, "", "erase all"),

    b(C::Help, &[ch('j'), DOWN, ch(' ')], A::Down, "scroll", "down"),
    b(C::Help, &[ch('k'), UP], A::Up, "", "up"),
    b(C::Help, &[ctrl('d'), key(KeyCode::PageDown)], A::PageDown, "", "a page down"),
    b(C::Help, &[ctrl('u'), key(KeyCode::PageUp)], A::PageUp, "", "a page up"),
    b(C::Help, &[ESC, ch('q'), ch('?'), ENTER], A::Back, "close", "close"),
    b(C::Help, &[ctrl('c')], A::Quit, "", "quit"),

    b(C::Approval, &[ch('Y')], A::Write, "", "write the control file (capital Y)"),
    b(C::Approval, &[ESC, ch('q'), ch('n')], A::Back, "", "cancel: nothing is written"),
    b(C::Approval, &[ch('j'), DOWN], A::Down, "scroll", "down"),
    b(C::Approval, &[ch('k'), UP], A::Up, "", "up"),
    b(C::Approval, &[ch('1')], A::Override(1), "", "override the guard of that number, or take it back (1-9)"),
    b(C::Approval, &[ch('2')], A::Override(2), "", ""),
    b(C::Approval, &[ch('3')], A::Override(3), "", ""),
    b(C::Approval, &[ch('4')], A::Override(4), "", ""),
    b(C::Approval, &[ch('5')], A::Override(5), "", ""),
    b(C::Approval, &[ch('6')], A::Override(6), "", ""),
    b(C::Approval, &[ch('7')], A::Override(7), "", ""),
    b(C::Approval, &[ch('8')], A::Override(8), "", ""),
    b(C::Approval, &[ch('9')], A::Override(9), "", ""),
    b(C::Approval, &[ctrl('c')], A::Quit, "", "quit: nothing is written"),
];

/// The contexts that are looked through for a key, first to last.
pub(crate) fn contexts(app: &App, snapshot: &Snapshot) -> Vec<Context> {
    match &app.popup {
        Some(Popup::Help { .. }) => return vec![C::Help],
        Some(Popup::Approval(_)) => return vec![C::Approval],
        None => {}
    }
    if app.overview.typing {
        return vec![C::Filter];
    }
    if app.seek.is_some() && snapshot.replay.is_some() {
        return vec![C::Seek];
    }
    let mut out = Vec::new();
    let plot = app.plot();
    if plot.is_some_and(|p| app.lens(p).cursor.is_some()) {
        out.push(C::Cursor);
    }
    if snapshot.replay.is_some() {
        out.push(C::Replay);
    }
    out.push(C::of(app.view));
    if plot.is_some() {
        out.push(C::Plot);
    }
    out.push(C::Everywhere);
    out
}

/// What a key means now.
pub(crate) fn action(key: Key, app: &App, snapshot: &Snapshot) -> Option<Action> {
    if app.is_blind() {
        let acts = |b: &&Binding| {
            b.context == C::Everywhere
                && matches!(b.action, A::Quit | A::Suspend)
                && b.keys.contains(&key)
        };
        return KEYS.iter().find(acts).map(|b| b.action);
    }
    let contexts = contexts(app, snapshot);
    for context in &contexts {
        let found = KEYS.iter().find(|b| b.context == *context && b.keys.contains(&key));
        if let Some(binding) = found {
            return Some(binding.action);
        }
    }
    match key.code {
        KeyCode::Char(c) if !key.ctrl && matches!(contexts[..], [C::Filter | C::Seek]) => {
            Some(A::Type(c))
        }
        _ => None,
    }
}

/// The keys of a binding as the help writes them.
pub(crate) fn names(binding: &Binding) -> String {
    binding.keys.iter().map(Key::name).collect::<Vec<_>>().join(" ")
}

/// The key map as a table for the README.
pub fn keys_markdown() -> String {
    let mut out = String::from("| where | keys | what |\n| --- | --- | --- |\n");
    for b in KEYS.iter().filter(|b| !b.words.is_empty()) {
        let keys: Vec<String> = b.keys.iter().map(|k| format!("`{}`", k.name())).collect();
        out.push_str(&format!("| {} | {} | {} |\n", b.context.title(), keys.join(" "), b.words));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn no_key_is_declared_twice_where_it_would_be_ambiguous() {
        let mut seen: HashMap<(Context, Key), Action> = HashMap::new();
        for b in KEYS {
            for k in b.keys {
                let was = seen.insert((b.context, *k), b.action);
                assert!(was.is_none(), "{} in {:?} is declared twice", k.name(), b.context);
            }
        }
        let views = View::ALL.map(Context::of);
        for b in KEYS.iter().filter(|b| b.context == C::Everywhere) {
            for k in b.keys {
                for v in views.iter().chain([&C::Replay, &C::Plot]) {
                    assert!(!seen.contains_key(&(*v, *k)), "{} hides in {v:?}", k.name());
                }
            }
        }
        let plotted = [C::Run, C::Curve, C::Schedule, C::Replay];
        for b in KEYS.iter().filter(|b| b.context == C::Plot) {
            for (k, v) in b.keys.iter().flat_map(|k| plotted.map(|v| (k, v))) {
                assert!(!seen.contains_key(&(v, *k)), "{} hides in {v:?}", k.name());
            }
        }
        // In a replay the arrows seek; hjkl still move.
        for b in KEYS.iter().filter(|b| b.context == C::Replay) {
            for k in b.keys.iter().filter(|k| **k != LEFT && **k != RIGHT) {
                for v in views {
                    assert!(!seen.contains_key(&(v, *k)), "{} hides in {v:?}", k.name());
                }
            }
        }
    }

    #[test]
    fn every_binding_says_what_it_does() {
        for b in KEYS {
            assert!(!b.keys.is_empty());
            assert!(!b.words.is_empty() || matches!(b.action, A::Override(_)));
        }
        assert!(keys_markdown().contains("| schedule | `p` | propose the planned schedule |"));
    }

    #[test]
    fn names_are_read_back() {
        for k in KEYS.iter().flat_map(|b| b.keys) {
            assert_eq!(Key::parse(&k.name()), Some(*k), "{}", k.name());
        }
    }
}
