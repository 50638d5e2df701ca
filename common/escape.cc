#include "common/escape.h"

#include <cstdint>

#include "absl/strings/str_format.h"
#include "common/utf8.h"

namespace pagoda {
namespace {

// REQUIRES: `c` is one well-formed character.
uint32_t CodePoint(absl::string_view c) {
  const uint8_t first = static_cast<uint8_t>(c[0]);
  uint32_t code = c.size() == 1 ? first : first & (0x7F >> c.size());
  for (char continuation : c.substr(1)) code = code << 6 | (continuation & 0x3F);
  return code;
}

bool Unsafe(uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code <= 0x9F) || (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069);
}

void AppendUnsafe(uint32_t code, std::string* out) {
  switch (code) {
    case '\n':
      *out += "\\n";
      return;
    case '\r':
      *out += "\\r";
      return;
    case '\t':
      *out += "\\t";
      return;
    default:
      absl::StrAppendFormat(out, "\\u%04x", code);
  }
}

std::string Escape(absl::string_view text, bool json) {
  std::string out;
  out.reserve(text.size() + 2);
  while (!text.empty()) {
    const size_t length = Utf8CharLength(text);
    if (length == 0) {
      absl::StrAppendFormat(&out, "%s%02x", json ? "\\\\x" : "\\x", static_cast<uint8_t>(text[0]));
      text.remove_prefix(1);
      continue;
    }
    const absl::string_view c = text.substr(0, length);
    if (const uint32_t code = CodePoint(c); Unsafe(code)) {
      AppendUnsafe(code, &out);
    } else {
      if (json && (c == "\"" || c == "\\")) out += '\\';
      out.append(c.data(), c.size());
    }
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace

std::string JsonQuote(absl::string_view text) { return '"' + Escape(text, /*json=*/true) + '"'; }

std::string EscapeLine(absl::string_view text) { return Escape(text, /*json=*/false); }

}  // namespace pagoda
