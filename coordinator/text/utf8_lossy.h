// Bytes in, well-formed UTF-8 out, in pieces of any size: each ill-formed stretch becomes U+FFFD as
// the Unicode standard recommends (one per maximal subpart) and a character cut short by the end of
// the input so far waits for its rest. The output does not depend on how the input was cut.
#pragma once

#include <string>
#include <string_view>

namespace pagoda {

class Utf8Lossy {
 public:
  // Adds what became certain to *out; whole characters only.
  void Append(std::string_view bytes, std::string* out);

  // The input ends here: a character still cut short becomes U+FFFD.
  void Flush(std::string* out);

 private:
  std::string pending_;  // 0 to 3 bytes: the start of a well-formed character
};

}  // namespace pagoda
