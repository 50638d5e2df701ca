#include "coordinator/text/utf8_lossy.h"

#include <algorithm>

#include "absl/strings/string_view.h"
#include "common/utf8.h"

namespace pagoda {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Whether some bytes after `start` would make it a well-formed character.
bool CanBeCompleted(std::string_view start) {
  // A second byte is 0x80 to 0xBF or a range that holds one of these two ends.
  for (const char* second : {"\x80", "\xBF"}) {
    std::string whole(start);
    if (start.size() == 1) whole += second;
    whole += "\x80\x80";
    if (Utf8CharLength({whole.data(), whole.size()}) > start.size()) return true;
  }
  return false;
}

// Bytes of the longest start of a character that `text` begins with. REQUIRES: `text` begins with
// no whole character.
size_t StartedBytes(std::string_view text) {
  size_t size = std::min<size_t>(text.size(), 3);
  while (size > 0 && !CanBeCompleted(text.substr(0, size))) --size;
  return size;
}

}  // namespace

void Utf8Lossy::Append(std::string_view bytes, std::string* out) {
  std::string joined;
  if (!pending_.empty()) {
    joined = pending_.append(bytes);
    bytes = joined;
    pending_.clear();
  }
  while (true) {
    const size_t valid = Utf8ValidPrefix({bytes.data(), bytes.size()});
    out->append(bytes.substr(0, valid));
    bytes.remove_prefix(valid);
    if (bytes.empty()) return;
    const size_t started = StartedBytes(bytes);
    if (started == bytes.size()) {
      pending_ = bytes;
      return;
    }
    out->append(kReplacement);
    bytes.remove_prefix(std::max<size_t>(started, 1));
  }
}

void Utf8Lossy::Flush(std::string* out) {
  if (!pending_.empty()) out->append(kReplacement);
  pending_.clear();
}

}  // namespace pagoda
