//! Tests of `tokenizer.rs` on tokenizers small enough to read.

use super::*;

/// A tokenizer.json from a model, a decoder, and other top-level members ("" for none).
fn file(model: &str, decoder: &str, more: &str) -> String {
    format!(
        r#"{{"version": "1.0", {more} "added_tokens": [
            {{"id": 1, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
              "normalized": false, "special": true}},
            {{"id": 2, "content": "<tool x>", "single_word": false, "lstrip": false,
              "rstrip": false, "normalized": false, "special": false}}],
          "model": {model}, "decoder": {decoder}}}"#
    )
}

const BPE: &str = r#"{"type": "BPE", "dropout": DROP, "unk_token": "<unk>", "byte_fallback": true,
    "vocab": {"<unk>": 0, "<s>": 1, "<tool x>": 2, "a": 3, "b": 4, "ab": 5,
    "<0xE4>": 6, "<0xBD>": 7, "<0xA0>": 8, "Ġ": 9},
    "merges": ["a b"]}"#;
const BYTE_LEVEL: &str =
    r#"{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false}"#;
const FALLBACK: &str = r#"{"type": "ByteFallback"}"#;
const FUSE: &str = r#"{"type": "Fuse"}"#;
const STRIP_END: &str = r#"{"type": "Strip", "content": "a", "start": 0, "stop": 1}"#;

fn bpe() -> String {
    BPE.replace("DROP", "null")
}

fn sequence(steps: &[&str]) -> String {
    format!(
        r#"{{"type": "Sequence", "decoders": [{}]}}"#,
        steps.join(",")
    )
}

fn load(decoder: &str) -> Tokenizer {
    Tokenizer::load(file(&bpe(), decoder, "").as_bytes()).unwrap()
}

fn kind(decoder: &str) -> DecoderKind {
    load(decoder).decoder_kind()
}

fn load_error(json: &str) -> String {
    Tokenizer::load(json.as_bytes()).err().expect("must fail")
}

#[test]
fn merges_and_special_tokens_in_the_text_are_found() {
    let tokenizer = load(FALLBACK);
    assert_eq!(tokenizer.encode(b"ab<s>ba", true).unwrap(), [5, 1, 4, 3]);
    assert_eq!(tokenizer.encode("你".as_bytes(), true).unwrap(), [6, 7, 8]);
    assert_eq!(tokenizer.encode(b"", true).unwrap(), [0i32; 0]);
    assert!(tokenizer.encode(b"a\xFF", true).is_err());
}

#[test]
fn unknown_and_negative_ids_stand_for_nothing() {
    let tokenizer = load(FALLBACK);
    let ids = [3, -1, 10, i32::MAX, i32::MIN, 4];
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), "ab");
    for id in [-1, 10, i32::MAX, i32::MIN] {
        assert_eq!(tokenizer.token(id).flags, 0);
    }
}

#[test]
fn special_tokens_are_skipped_on_request_only() {
    let tokenizer = load(FALLBACK);
    assert_eq!(tokenizer.decode(&[3, 1, 2, 4], true).unwrap(), "a<tool x>b");
    assert_eq!(
        tokenizer.decode(&[3, 1, 2, 4], false).unwrap(),
        "a<s><tool x>b"
    );
}

#[test]
fn flags_name_special_and_byte_tokens() {
    let tokenizer = load(FALLBACK);
    let flags = |id| tokenizer.token(id).flags;
    assert_eq!(flags(1), KNOWN | SPECIAL);
    assert_eq!(flags(2), KNOWN);
    assert_eq!(flags(5), KNOWN);
    assert_eq!(flags(6), KNOWN | BYTE);
    assert_eq!(&*tokenizer.token(5).text, "ab");
    assert_eq!(tokenizer.vocab_size(), 10);
    // Without the fallback step "<0xE4>" is text like any other.
    assert_eq!(load(FUSE).token(6).flags, KNOWN);
}

#[test]
fn decoders_are_told_apart() {
    assert_eq!(kind(BYTE_LEVEL), DecoderKind::ByteLevel);
    assert_eq!(kind(&sequence(&[BYTE_LEVEL, FUSE])), DecoderKind::ByteLevel);
    assert_eq!(
        kind(&sequence(&[&sequence(&[BYTE_LEVEL])])),
        DecoderKind::ByteLevel
    );
    assert_eq!(kind(&sequence(&[FALLBACK, FUSE])), DecoderKind::Appending);
    assert_eq!(kind("null"), DecoderKind::Appending);
    assert_eq!(kind(&sequence(&[])), DecoderKind::Appending);
    assert_eq!(
        kind(&sequence(&[BYTE_LEVEL, STRIP_END])),
        DecoderKind::Mixed
    );
    assert_eq!(kind(&sequence(&[FUSE, BYTE_LEVEL])), DecoderKind::Mixed);
    assert_eq!(
        kind(&sequence(&[BYTE_LEVEL, BYTE_LEVEL])),
        DecoderKind::Mixed
    );
}

#[test]
fn byte_level_bytes_are_what_the_crate_decodes() {
    let all: Vec<char> = byte_of_char().into_keys().collect();
    assert_eq!(all.len(), 256);
    let vocab: Vec<String> = all
        .iter()
        .enumerate()
        .map(|(i, &c)| format!(r#""\u{:04x}": {}"#, u32::from(c), i + 3))
        .collect();
    let model = format!(
        r#"{{"type": "BPE", "vocab": {{"<unk>": 0, "<s>": 1, "<tool x>": 2, {}}}, "merges": []}}"#,
        vocab.join(",")
    );
    let tokenizer = Tokenizer::load(file(&model, BYTE_LEVEL, "").as_bytes()).unwrap();
    // The one id that gives each byte, and then every character of two, three and four bytes' kind.
    let id_of: HashMap<u8, i32> = (3..259)
        .map(|id| (tokenizer.token(id).bytes[0], id))
        .collect();
    assert_eq!(id_of.len(), 256);
    for text in ["plain text\n\t\0\x7f", "é\u{ad}ß", "你好", "😀👩‍🚀"] {
        let ids: Vec<i32> = text.bytes().map(|b| id_of[&b]).collect();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
    }
    // The space is no stand-in, so this added token is taken as it is written.
    assert_eq!(&*tokenizer.token(2).bytes, b"<tool x>");
}

#[test]
fn truncation_padding_and_dropout_are_off() {
    let more = r#""truncation": {"direction": "Right", "max_length": 1,
        "strategy": "LongestFirst", "stride": 0}, "padding": {"strategy": {"Fixed": 9},
        "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "<unk>"},"#;
    let json = file(&BPE.replace("DROP", "1.0"), FALLBACK, more);
    let tokenizer = Tokenizer::load(json.as_bytes()).unwrap();
    assert_eq!(tokenizer.encode(b"abab", true).unwrap(), [5, 5]);
    assert_eq!(tokenizer.encode(b"ab<s>", true).unwrap(), [5, 1]);
}

#[test]
fn files_that_are_no_tokenizer_are_refused() {
    assert!(load_error("").contains("EOF"));
    assert!(load_error("{}").starts_with("Model missing"));
    assert!(load_error(&"[".repeat(100_000)).len() < 1000);
    let huge_id = bpe().replace("\"Ġ\": 9", "\"Ġ\": 16777216");
    assert_eq!(
        load_error(&file(&huge_id, FALLBACK, "")),
        "token id 16777216 is over the limit 16777215"
    );
    let empty = r#"{"model": {"type": "BPE", "vocab": {}, "merges": []}}"#;
    assert_eq!(load_error(empty), "the vocabulary is empty");
}

#[test]
fn a_panic_of_the_crate_is_an_error() {
    // Stripping the end of an empty string indexes out of bounds in the crate.
    let steps = sequence(&[&STRIP_END.replace("\"stop\": 1", "\"stop\": 2")]);
    let tokenizer = load(&steps);
    let mut error = crate::buffer::Bytes::new(Vec::new());
    assert!(crate::guard::guard(&mut error, || tokenizer.decode(&[3], false)).is_none());
    assert!(error.into_text().starts_with("panic in the tokenizer"));
}
