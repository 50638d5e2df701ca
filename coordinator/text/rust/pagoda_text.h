// C ABI of the Rust static library `pagoda_text`: Hugging Face tokenizers, nothing else.
//
// Invariants: no panic or exception crosses a function; a failing call says so by its result and
// fills `error`. Text is UTF-8 and not NUL-terminated. What a call puts into a pagoda_text_bytes
// or pagoda_text_ids is owned by the library and goes back by the matching free function, once.
// A tokenizer is immutable after pagoda_text_load: any number of threads may use one at a time.
// Only coordinator/text/tokenizer.cc includes this file.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pagoda_text_tokenizer pagoda_text_tokenizer;

// Empty: data may be null, size 0.
typedef struct {
  uint8_t* data;
  size_t size;
} pagoda_text_bytes;

typedef struct {
  int32_t* data;
  size_t size;
} pagoda_text_ids;

enum {
  PAGODA_TEXT_TOKEN_KNOWN = 1,    // the id is in the vocabulary
  PAGODA_TEXT_TOKEN_SPECIAL = 2,  // skip_special_tokens drops it
  PAGODA_TEXT_TOKEN_BYTE = 4,     // "<0xNN>", and the decoder turns runs of them into characters
};

// One vocabulary entry. Pointers live as long as the tokenizer.
typedef struct {
  const uint8_t* text;  // as the vocabulary spells it
  size_t text_size;
  const uint8_t* bytes;  // what it stands for in the output; only with PAGODA_TEXT_BYTE_LEVEL
  size_t bytes_size;
  uint32_t flags;
} pagoda_text_token;

// How the tokenizer's decoder makes text.
enum {
  // Output = the tokens' `bytes` end to end, broken UTF-8 replaced.
  PAGODA_TEXT_BYTE_LEVEL = 0,
  // Anything else that only ever appends whole characters (SentencePiece, WordPiece, ...).
  PAGODA_TEXT_APPENDING = 1,
  // A byte-level step among others: output may end in a half character, shown as U+FFFD.
  PAGODA_TEXT_MIXED = 2,
};

// Reads a tokenizer.json. Truncation, padding and BPE dropout that the file may ask for are off.
// Returns null on failure.
pagoda_text_tokenizer* pagoda_text_load(const uint8_t* json, size_t size, pagoda_text_bytes* error);
void pagoda_text_free(pagoda_text_tokenizer* tokenizer);  // null is fine

// 0 on success. `text` must be UTF-8 (checked). add_special_tokens: run the post-processor.
int pagoda_text_encode(const pagoda_text_tokenizer* tokenizer,
                       const uint8_t* text,
                       size_t size,
                       int add_special_tokens,
                       pagoda_text_ids* ids,
                       pagoda_text_bytes* error);

// 0 on success. Ids outside the vocabulary, negative ones too, stand for nothing.
int pagoda_text_decode(const pagoda_text_tokenizer* tokenizer,
                       const int32_t* ids,
                       size_t size,
                       int skip_special_tokens,
                       pagoda_text_bytes* text,
                       pagoda_text_bytes* error);

size_t pagoda_text_vocab_size(const pagoda_text_tokenizer* tokenizer);  // with added tokens
int pagoda_text_decoder(const pagoda_text_tokenizer* tokenizer);        // PAGODA_TEXT_BYTE_LEVEL...
// An id outside the vocabulary gives flags 0 and empty strings.
pagoda_text_token pagoda_text_token_at(const pagoda_text_tokenizer* tokenizer, int32_t id);
int pagoda_text_is_special(const pagoda_text_tokenizer* tokenizer, int32_t id);

void pagoda_text_bytes_free(pagoda_text_bytes bytes);
void pagoda_text_ids_free(pagoda_text_ids ids);

#ifdef __cplusplus
}
#endif
