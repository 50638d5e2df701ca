#include "client/cli/supervisor/line_reader.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace pagoda {

std::vector<std::string> LineReader::Read(int fd) {
  std::vector<std::string> lines;
  std::array<char, 4096> buffer;
  while (!at_end_) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return lines;
    at_end_ = got <= 0;
    for (ssize_t i = 0; i < got; ++i) {
      if (buffer[i] != '\n') partial_ += buffer[i];
      if (buffer[i] == '\n' || partial_.size() == kMaxLine) {
        lines.push_back(std::exchange(partial_, {}));
      }
    }
  }
  if (!partial_.empty()) lines.push_back(std::exchange(partial_, {}));
  return lines;
}

}  // namespace pagoda
