// Lines out of a pipe that must not block its reader.
#pragma once

#include <string>
#include <vector>

namespace pagoda {

class LineReader {
 public:
  // A longer line comes in pieces.
  static constexpr size_t kMaxLine = 64 << 10;

  // The lines, without line feeds, that `fd` (non-blocking) holds by now; at its end also the last
  // one without a line feed.
  std::vector<std::string> Read(int fd);

  // The writers are gone; there is nothing more to read.
  bool at_end() const { return at_end_; }

 private:
  std::string partial_;  // a line whose line feed has not come
  bool at_end_ = false;
};

}  // namespace pagoda
