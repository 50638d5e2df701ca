#include "common/check.h"

#include <unistd.h>

#include <cstdlib>
#include <sstream>
#include <utility>

namespace pagoda::check_internal {
namespace {

// Never freed: the process is about to end, and a plain pointer lets CHECK_EQ stand in constexpr
// code.
const std::string* Keep(std::string message) {
  return std::make_unique<std::string>(std::move(message)).release();
}

}  // namespace

struct Failure::Impl {
  std::ostringstream text;
};

Failure::Failure(const char* file, int line, const char* what) : impl_(std::make_unique<Impl>()) {
  impl_->text << file << ":" << line << ": " << what << " failed. ";
}

std::ostream& Failure::stream() { return impl_->text; }

Failure::~Failure() {
  std::string line = impl_->text.str();
  while (!line.empty() && line.back() == ' ') line.pop_back();
  line += '\n';
  // A short or failed write loses part of a message; the abort below must happen in any case.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  std::abort();
}

struct ValuePair::Impl {
  std::ostringstream text;
};

ValuePair::~ValuePair() = default;

ValuePair::ValuePair(const char* what) : impl_(std::make_unique<Impl>()) {
  impl_->text << what << " (";
}

std::ostream& ValuePair::first() { return impl_->text; }

std::ostream& ValuePair::second() { return impl_->text << " vs. "; }

const std::string* ValuePair::Finish() {
  impl_->text << ")";
  return Keep(impl_->text.str());
}

const std::string* OkMessage(const char* what, const std::string& status) {
  return Keep(std::string(what) + " (" + status + ")");
}

}  // namespace pagoda::check_internal
