//! An error or a notice about the configuration: nginx's line, then the place and a suggestion.

use std::fmt;

use super::source::{Place, Sources};
use super::tree::Word;
use crate::base::process_settings::Level;

/// The widest part of a line that is shown; longer lines are cut round the mark.
const MAX_SHOWN_CHARS: usize = 120;

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How grave it is: `Emerg` for every error, `Warn` or `Notice` for what does not stop a start.
    pub level: Level,
    /// What is wrong, in nginx's words where nginx has the same error.
    pub message: String,
    /// The place that the first line names; none where the file itself could not be opened.
    pub place: Option<Place>,
    /// What may help.
    pub hint: Option<String>,
    /// The text round the place, so that showing it needs nothing else.
    view: Option<Box<View>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    /// `FILE:LINE`, or `command line`.
    name: String,
    /// The marked line, its number, and the marked characters in it.
    text: String,
    line: u32,
    column: u32,
    width: u32,
}

impl Diagnostic {
    /// An error without a place.
    pub fn new(level: Level, message: impl Into<String>) -> Self {
        Diagnostic { level, message: message.into(), place: None, hint: None, view: None }
    }

    /// An error at `place`, with `width` characters from `mark` on underlined.
    pub(super) fn at(
        sources: &Sources,
        level: Level,
        message: impl Into<String>,
        place: Place,
        mark: Place,
        width: usize,
    ) -> Self {
        let view = View {
            name: sources.name(place),
            text: sources.line_text(mark).into_owned(),
            line: mark.line,
            column: mark.column,
            width: width.max(1) as u32,
        };
        Diagnostic {
            level,
            message: message.into(),
            place: Some(place),
            hint: None,
            view: Some(Box::new(view)),
        }
    }

    /// An error about a word, which is underlined.
    pub fn about(sources: &Sources, word: &Word, message: impl Into<String>) -> Self {
        let width = word.text.chars().count() + if word.quoted { 2 } else { 0 };
        Diagnostic::at(sources, Level::Emerg, message, word.place, word.place, width)
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The message with its place, without the level: what a log line holds after its level. It is
    /// one line whatever the words in it hold.
    pub fn text(&self) -> String {
        let text = match &self.view {
            Some(view) => format!("{} in {}", self.message, view.name),
            None => self.message.clone(),
        };
        if text.contains(char::is_control) { escaped(&text) } else { text }
    }

    /// nginx's line alone: `[emerg] unknown directive "x" in /etc/nginx/nginx.conf:3`.
    pub fn first_line(&self) -> String {
        format!("[{}] {}", self.level.name(), self.text())
    }
}

impl fmt::Display for Diagnostic {
    /// nginx's line, then the marked line of the file with the hint. No line end at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first_line())?;
        let Some(view) = &self.view else {
            return self.hint.iter().try_for_each(|hint| write!(f, "\n      {hint}"));
        };
        let (shown, pad, width) = view.cut();
        write!(f, "\n{:>5} | {shown}", view.line)?;
        write!(f, "\n      | {pad}{}", "^".repeat(width))?;
        self.hint.iter().try_for_each(|hint| write!(f, " {hint}"))
    }
}

impl std::error::Error for Diagnostic {}

impl View {
    /// The part of the line to show, what stands under it before the mark, and the mark's width.
    fn cut(&self) -> (String, String, usize) {
        let column = self.column.saturating_sub(1) as usize;
        let length = self.text.chars().count();
        let from = if length > MAX_SHOWN_CHARS { column.saturating_sub(MAX_SHOWN_CHARS / 3) } else { 0 };
        let shown: String = self.text.chars().skip(from).take(MAX_SHOWN_CHARS).map(printable).collect();
        // A tab stays a tab, so that the mark stands below its word however wide tabs are.
        let pad = shown.chars().take(column - from).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let room = length.min(from + MAX_SHOWN_CHARS).saturating_sub(column).max(1);
        (shown, pad, (self.width as usize).min(room))
    }
}

/// A configuration must not steer the terminal that shows its errors.
fn printable(char: char) -> char {
    if char.is_control() && char != '\t' { '\u{fffd}' } else { char }
}

/// Control characters as escapes, so that a message stays one line.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() { out.extend(char.escape_default()) } else { out.push(char) }
    }
    out
}

/// An error of the kernel as nginx writes it: `2: No such file or directory`.
pub(super) fn os_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(errno) => {
            let words = text.strip_suffix(&format!(" (os error {errno})")).unwrap_or(&text);
            format!("{errno}: {words}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn sample(text: &str, place: (u32, u32), width: usize) -> Diagnostic {
        let mut sources = Sources::default();
        let file = sources.add_file(Path::new("/n.conf"), text.as_bytes().to_vec());
        let place = Place { file, line: place.0, column: place.1 };
        Diagnostic::at(&sources, Level::Emerg, "unknown directive \"servre\"", place, place, width)
    }

    #[test]
    fn shows_the_line_and_the_mark() {
        let shown =
            sample("a;\nb;\n    servre {\n", (3, 5), 6).with_hint("did you mean \"server\"?").to_string();
        let expected = "[emerg] unknown directive \"servre\" in /n.conf:3\n    3 |     servre {\n      |     ^^^^^^ did you mean \"server\"?";
        assert_eq!(shown, expected);
    }

    #[test]
    fn tabs_and_control_characters() {
        let shown = sample("\tx\u{1b}[2J;", (1, 2), 2).to_string();
        assert!(shown.ends_with("    1 | \tx\u{fffd}[2J;\n      | \t^^"), "{shown}");
    }

    #[test]
    fn the_first_line_is_one_line() {
        let error = Diagnostic::new(Level::Emerg, "unknown directive \"a\nb\u{1b}\"");
        assert_eq!(error.first_line(), "[emerg] unknown directive \"a\\nb\\u{1b}\"");
    }

    #[test]
    fn a_long_line_is_cut_round_the_mark() {
        let line = format!("{}servre{}", "x".repeat(5000), "y".repeat(5000));
        let shown = sample(&line, (1, 5001), 6).to_string();
        assert!(shown.lines().all(|line| line.chars().count() < 200), "{shown}");
        assert!(shown.contains("servre"));
        assert!(shown.ends_with(" ^^^^^^"));
    }

    #[test]
    fn a_mark_beyond_the_text_is_harmless() {
        assert!(sample("", (1, 1), 50).to_string().ends_with("| ^"));
        assert!(sample("ab", (7, 9), 50).to_string().ends_with("^"));
    }

    #[test]
    fn without_a_place() {
        let error = std::io::Error::from_raw_os_error(2);
        let message = format!("open() \"/x\" failed ({})", os_error(&error));
        let shown = Diagnostic::new(Level::Emerg, message).to_string();
        assert_eq!(shown, "[emerg] open() \"/x\" failed (2: No such file or directory)");
    }
}
