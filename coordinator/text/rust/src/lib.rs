//! The C ABI of `pagoda_text.h`: unwraps pointers, catches panics, hands out owned buffers.
//! Everything with a meaning is in `tokenizer.rs`.

mod buffer;
mod guard;
mod tokenizer;

use buffer::{Bytes, Ids};
use guard::guard;
use std::ptr;
use tokenizer::{DecoderKind, Tokenizer};

/// `pagoda_text_token`: one vocabulary entry, borrowed from the tokenizer.
#[repr(C)]
pub struct TokenView {
    text: *const u8,
    text_size: usize,
    bytes: *const u8,
    bytes_size: usize,
    flags: u32,
}

/// A slice from C; a null pointer is allowed when the size is 0.
///
/// # Safety
/// `data` points to `size` readable values that outlive `'a`.
unsafe fn slice<'a, T>(data: *const T, size: usize) -> &'a [T] {
    if size == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(data, size) }
}

/// # Safety
/// `json` points to `size` bytes, `error` to a writable value.
#[no_mangle]
pub unsafe extern "C" fn pagoda_text_load(
    json: *const u8,
    size: usize,
    error: *mut Bytes,
) -> *mut Tokenizer {
    // SAFETY: the header's contract.
    let (json, error) = unsafe { (slice(json, size), &mut *error) };
    guard(error, || Tokenizer::load(json))
        .map_or(ptr::null_mut(), |loaded| Box::into_raw(Box::new(loaded)))
}

/// # Safety
/// `tokenizer` is null or came from `pagoda_text_load` and is not used again.
#[no_mangle]
pub unsafe extern "C" fn pagoda_text_free(tokenizer: *mut Tokenizer) {
    if !tokenizer.is_null() {
        // SAFETY: the header's contract.
        drop(unsafe { Box::from_raw(tokenizer) });
    }
}

/// # Safety
/// All pointers are valid; `text` points to `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn pagoda_text_encode(
    tokenizer: *const Tokenizer,
    text: *const u8,
    size: usize,
    add_special_tokens: i32,
    ids: *mut Ids,
    error: *mut Bytes,
) -> i32 {
    // SAFETY: the header's contract.
    let (tokenizer, text, ids, error) =
        unsafe { (&*tokenizer, slice(text, size), &mut *ids, &mut *error) };
    match guard(error, || tokenizer.encode(text, add_special_tokens != 0)) {
        Some(encoded) => {
            *ids = Ids::new(encoded);
            0
        }
        None => 1,
    }
}

/// # Safety
/// All pointers are valid; `ids` points to `size` values.
#[no_mangle]
pub unsafe extern "C" fn pagoda_text_decode(
    tokenizer: *const Tokenizer,
    ids: *const i32,
    size: usize,
    skip_special_tokens: i32,
    text: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    // SAFETY: the header's contract.
    let (tokenizer, ids, text, error) =
        unsafe { (&*tokenizer, slice(ids, size), &mut *text, &mut *error) };
    match guard(error, || tokenizer.decode(ids, skip_special_tokens != 0)) {
        Some(decoded) => {
            *text = Bytes::new(decoded.into_bytes());
            0
        }
        None => 1,
    }
}

/// # Safety
/// `tokenizer` came from `pagoda_text_load`.
#[no_mangle]
pub unsafe extern "C" fn pagoda_text_vocab_size(tokenizer: *const Tokenizer) -> usize {
    // SAFETY: the header's contract.
    unsafe { &*tokenizer }.vocab_size()
}

/// # Safety
/// `tokenizer` came from `pagoda_text_load`.
#[no_mangle]
pub unsafe extern "C" fn pagoda_text_decoder(tokenizer: *const Tokenizer) -> DecoderKind {
    // SAFETY: the header's contract.
    unsafe { &*tokenizer }.decoder_kind()
}

/// # Safety
/// `tokenizer` came from `pagoda_text_load`.
#[no_mangle]
pub unsafe extern "C" fn pagoda_text_token_at(tokenizer: *const Tokenizer, id: i32) -> TokenView {
    // SAFETY: the header's contract.
    let token = unsafe { &*tokenizer }.token(id);
    TokenView {
        text: token.text.as_ptr(),
        text_size: token.text.len(),
        bytes: token.bytes.as_ptr(),
        bytes_size: token.bytes.len(),
        flags: token.flags,
    }
}

/// # Safety
/// `tokenizer` came from `pagoda_text_load`.
#[no_mangle]
pub unsafe extern "C" fn pagoda_text_is_special(tokenizer: *const Tokenizer, id: i32) -> i32 {
    // SAFETY: the header's contract.
    i32::from(unsafe { &*tokenizer }.token(id).flags & tokenizer::SPECIAL != 0)
}

/// # Safety
/// `bytes` came from this library and is not used again.
#[no_mangle]
pub unsafe extern "C" fn pagoda_text_bytes_free(bytes: Bytes) {
    // SAFETY: the header's contract.
    unsafe { bytes.free() }
}

/// # Safety
/// `ids` came from this library and is not used again.
#[no_mangle]
pub unsafe extern "C" fn pagoda_text_ids_free(ids: Ids) {
    // SAFETY: the header's contract.
    unsafe { ids.free() }
}
