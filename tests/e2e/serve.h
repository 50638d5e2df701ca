// A `pagoda serve` of the demo model as a process, its log, and its processes.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "client/cpp/client.h"
#include "tests/e2e/logged_process.h"

namespace pagoda::e2e {

inline constexpr char kModel[] = "models/demo";

class Serve : public LoggedProcess {
 public:
  // On a free port. Steps may take as long as a sanitizer needs, unless the flags say otherwise.
  // `programs` is their directory, this build's where it is empty.
  explicit Serve(const std::vector<std::string>& flags = {},
                 const std::string& model = kModel,
                 const std::string& programs = "");

  // Waits until it serves. HOST:PORT.
  std::string address() { return WaitForRest("serving on "); }
  std::unique_ptr<Client> Connect();

  // The `life`th worker of a rank, and the coordinator; once it has started.
  pid_t worker(int life = 1, int rank = 0);
  pid_t coordinator();
  int workers_started();

 private:
  pid_t PidAfter(absl::string_view text, int count);
};

}  // namespace pagoda::e2e
