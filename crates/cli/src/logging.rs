//! Log lines on standard error.

use std::fmt::Write as _;
use std::io::{self, Write};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging; `RUST_LOG` is stronger than `default_level`.
pub(crate) fn start(format: LogFormat, default_level: &str) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_level));
    let color = matches!(format, LogFormat::Text)
        && io::IsTerminal::is_terminal(&io::stderr())
        && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(color)
        .with_writer(move || OneLine {
            to: io::stderr(),
            color,
        });
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Keeps an event on its line, whatever text of others is in it: what could end the line, or speak
/// to a terminal, is written as an escape. The formatter hands each event over in one piece.
struct OneLine<W> {
    to: W,
    /// Whether the formatter's own colours pass; it escapes those of others itself.
    color: bool,
}

impl<W: Write> OneLine<W> {
    fn is_plain(&self, c: char) -> bool {
        !c.is_control() || c == '\t' || (self.color && c == '\u{1b}')
    }
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        if line.chars().all(|c| self.is_plain(c)) {
            self.to.write_all(event)?;
            return Ok(event.len());
        }
        let mut escaped = String::with_capacity(text.len() + 16);
        for c in line.chars() {
            if self.is_plain(c) {
                escaped.push(c);
            } else {
                // As JSON has it, since a line may be JSON.
                match c {
                    '\n' => escaped.push_str("\\n"),
                    '\r' => escaped.push_str("\\r"),
                    c => write!(escaped, "\\u{:04x}", u32::from(c)).map_err(io::Error::other)?,
                }
            }
        }
        escaped.push_str(&text[line.len()..]);
        self.to.write_all(escaped.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Kept {
        type Writer = OneLine<Kept>;

        fn make_writer(&'a self) -> Self::Writer {
            OneLine {
                to: self.clone(),
                color: false,
            }
        }
    }

    /// What callers and upstream may write into names and errors.
    const EVIL: &str = "模型\r\n2026-01-01T00:00:00Z  INFO forged\n\u{1b}[31mred\u{9b}2J\u{7}";

    fn logged(format: LogFormat) -> String {
        let kept = Kept::default();
        let builder = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(kept.clone());
        let log = || tracing::warn!(model = EVIL, error = %EVIL, "{EVIL}");
        match format {
            LogFormat::Text => tracing::subscriber::with_default(builder.finish(), log),
            LogFormat::Json => tracing::subscriber::with_default(builder.json().finish(), log),
        }
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_of_others_neither_ends_a_line_nor_speaks_to_the_terminal() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format);
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.contains(char::is_control), "{line:?}");
            assert!(line.contains("模型"), "{line}");
        }
    }

    #[test]
    fn a_json_line_says_what_was_said() {
        let line: serde_json::Value = serde_json::from_str(&logged(LogFormat::Json)).unwrap();
        assert_eq!(line["fields"]["model"], EVIL);
    }
}
