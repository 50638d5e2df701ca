//! Turns every failure, panics included, into one line of error text.

use crate::buffer::Bytes;
use std::any::Any;
use std::panic::{catch_unwind, set_hook, AssertUnwindSafe};
use std::sync::Once;

/// Longest error text handed out, in characters: serde likes to quote its input.
const MAX_ERROR: usize = 300;

/// Runs `body`; on an error or a panic, `error` receives the text and the result is `None`.
///
/// Unwind safety: what a body can leave half done is its own locals; a loaded tokenizer is
/// immutable but for its encode cache, whose lock is poisoned and then ignored by the crate.
pub fn guard<T>(error: &mut Bytes, body: impl FnOnce() -> Result<T, String>) -> Option<T> {
    silence_panics();
    let message = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(message)) => message,
        Err(payload) => format!("panic in the tokenizer: {}", panic_text(payload.as_ref())),
    };
    *error = Bytes::new(one_line(&message).into_bytes());
    None
}

/// The message travels in the error; the default hook would also print it to stderr. Unit tests
/// keep the hook: it is how they report.
fn silence_panics() {
    static HOOK: Once = Once::new();
    if !cfg!(test) {
        HOOK.call_once(|| set_hook(Box::new(|_| {})));
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    match payload.downcast_ref::<String>() {
        Some(text) => text,
        None => payload
            .downcast_ref::<&str>()
            .copied()
            .unwrap_or("no message"),
    }
}

fn one_line(message: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = message.chars().take(MAX_ERROR).map(clean).collect();
    if message.chars().nth(MAX_ERROR).is_some() {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(body: impl FnOnce() -> Result<(), String>) -> String {
        let mut error = Bytes::new(Vec::new());
        assert!(guard(&mut error, body).is_none());
        error.into_text()
    }

    #[test]
    fn a_value_passes() {
        let mut error = Bytes::new(Vec::new());
        assert_eq!(guard(&mut error, || Ok(5)), Some(5));
        assert_eq!(error.into_text(), "");
    }

    #[test]
    fn an_error_becomes_its_text() {
        assert_eq!(failure(|| Err("no such thing".into())), "no such thing");
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let nothing: Vec<u8> = Vec::new();
        let index = nothing.len() + 7;
        let text = failure(|| {
            let _ = nothing[index];
            Ok(())
        });
        assert!(text.starts_with("panic in the tokenizer: index out of bounds"));
        assert_eq!(failure(|| panic!("plain")), "panic in the tokenizer: plain");
    }

    #[test]
    fn error_text_is_one_short_line() {
        let text = failure(|| Err(format!("a\nb{}", "é".repeat(1000))));
        assert!(text.starts_with("a bé"));
        assert_eq!(text.chars().count(), MAX_ERROR + 3);
    }
}
