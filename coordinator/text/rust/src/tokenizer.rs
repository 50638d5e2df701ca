//! A loaded tokenizer.json: encode, decode, and what each id stands for.

use std::collections::HashMap;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::ModelWrapper;

/// Flags of a token, as in `pagoda_text.h`.
pub const KNOWN: u32 = 1;
pub const SPECIAL: u32 = 2;
pub const BYTE: u32 = 4;

/// Ids the token table can hold; the largest vocabularies today have 2^18 entries.
const MAX_IDS: usize = 1 << 24;

/// How the decoder makes text, as in `pagoda_text.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DecoderKind {
    ByteLevel = 0,
    Appending = 1,
    Mixed = 2,
}

/// One id. `bytes` is filled for byte-level decoders only.
#[derive(Default)]
pub struct Token {
    pub text: Box<str>,
    pub bytes: Box<[u8]>,
    pub flags: u32,
}

pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    kind: DecoderKind,
    vocab_size: usize,
    /// By id; holes have no flags.
    tokens: Vec<Token>,
    outside: Token,
}

impl Tokenizer {
    pub fn load(json: &[u8]) -> Result<Self, String> {
        let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(|e| e.to_string())?;
        make_plain(&mut inner)?;
        let kind = inner
            .get_decoder()
            .map_or(DecoderKind::Appending, decoder_kind);
        let tokens = token_table(&inner, kind)?;
        Ok(Tokenizer {
            vocab_size: inner.get_vocab_size(true),
            inner,
            kind,
            tokens,
            outside: Token::default(),
        })
    }

    pub fn encode(&self, text: &[u8], add_special_tokens: bool) -> Result<Vec<i32>, String> {
        let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
        let encoding = self
            .inner
            .encode_fast(text, add_special_tokens)
            .map_err(|e| e.to_string())?;
        Ok(encoding.get_ids().iter().map(|&id| id as i32).collect())
    }

    pub fn decode(&self, ids: &[i32], skip_special_tokens: bool) -> Result<String, String> {
        let ids: Vec<u32> = ids.iter().filter_map(|&id| id.try_into().ok()).collect();
        self.inner
            .decode(&ids, skip_special_tokens)
            .map_err(|e| e.to_string())
    }

    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    pub fn decoder_kind(&self) -> DecoderKind {
        self.kind
    }

    pub fn token(&self, id: i32) -> &Token {
        usize::try_from(id)
            .ok()
            .and_then(|id| self.tokens.get(id))
            .unwrap_or(&self.outside)
    }
}

/// Encoding must give all of the text, the same each time. Transformers switches truncation and
/// padding off for each call as well; dropout belongs to training.
fn make_plain(inner: &mut tokenizers::Tokenizer) -> Result<(), String> {
    inner.with_truncation(None).map_err(|e| e.to_string())?;
    inner.with_padding(None);
    if let ModelWrapper::BPE(bpe) = inner.get_model() {
        if bpe.dropout.is_some() {
            let mut bpe = bpe.clone();
            bpe.dropout = None;
            inner.with_model(bpe);
        }
    }
    Ok(())
}

fn decoder_steps(decoder: &DecoderWrapper) -> Vec<&DecoderWrapper> {
    match decoder {
        DecoderWrapper::Sequence(steps) => steps
            .get_decoders()
            .iter()
            .flat_map(decoder_steps)
            .collect(),
        step => vec![step],
    }
}

fn decoder_kind(decoder: &DecoderWrapper) -> DecoderKind {
    let steps = decoder_steps(decoder);
    let is_byte_level = |step: &&DecoderWrapper| matches!(step, DecoderWrapper::ByteLevel(_));
    if !steps.iter().any(is_byte_level) {
        return DecoderKind::Appending;
    }
    // A byte-level step leaves one string, so a Fuse after it changes nothing.
    let mut rest = steps.iter().skip(1);
    if is_byte_level(&steps[0]) && rest.all(|step| matches!(step, DecoderWrapper::Fuse(_))) {
        DecoderKind::ByteLevel
    } else {
        DecoderKind::Mixed
    }
}

fn token_table(inner: &tokenizers::Tokenizer, kind: DecoderKind) -> Result<Vec<Token>, String> {
    let size = match inner.get_vocab(true).into_values().max() {
        Some(largest) => largest as usize + 1,
        None => return Err("the vocabulary is empty".into()),
    };
    if size > MAX_IDS {
        return Err(format!(
            "token id {} is over the limit {}",
            size - 1,
            MAX_IDS - 1
        ));
    }
    let byte_of = byte_of_char();
    let has_fallback = inner.get_decoder().is_some_and(|decoder| {
        let is_fallback = |step: &DecoderWrapper| matches!(step, DecoderWrapper::ByteFallback(_));
        decoder_steps(decoder).into_iter().any(is_fallback)
    });
    let added = inner.get_added_vocabulary();
    let entry = |id: u32| {
        let Some(text) = inner.id_to_token(id) else {
            return Token::default();
        };
        let mut token = Token {
            flags: KNOWN,
            ..Token::default()
        };
        if added.is_special_token(&text) {
            token.flags |= SPECIAL;
        }
        if has_fallback && is_byte_token(&text) {
            token.flags |= BYTE;
        }
        if kind == DecoderKind::ByteLevel {
            token.bytes = byte_level_bytes(&text, &byte_of).into();
        }
        token.text = text.into();
        token
    };
    Ok((0..size as u32).map(entry).collect())
}

/// What the crate's ByteFallback decoder takes for a byte.
fn is_byte_token(text: &str) -> bool {
    text.len() == 6
        && text.starts_with("<0x")
        && text.ends_with('>')
        && u8::from_str_radix(&text[3..5], 16).is_ok()
}

/// GPT-2's printable stand-ins: printable Latin-1 is itself, the rest follows from U+0100.
fn byte_of_char() -> HashMap<char, u8> {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut stand_in = 0x100..;
    (0..=255u8)
        .map(|byte| {
            let code = if printable(byte) {
                u32::from(byte)
            } else {
                stand_in.next().expect("endless")
            };
            (char::from_u32(code).expect("below U+0144"), byte)
        })
        .collect()
}

/// The bytes of a byte-level token; one with any other character (an added token) is itself.
fn byte_level_bytes(text: &str, byte_of: &HashMap<char, u8>) -> Vec<u8> {
    text.chars()
        .map(|c| byte_of.get(&c).copied())
        .collect::<Option<Vec<u8>>>()
        .unwrap_or_else(|| text.as_bytes().to_vec())
}

#[cfg(test)]
#[path = "tokenizer_test.rs"]
mod tests;
