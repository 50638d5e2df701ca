// What `pagoda generate` was asked for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "common/flags.h"
#include "common/server_flags.h"

namespace pagoda {

struct GenerateFlags {
  std::string model;    // directory, for a private server
  std::string connect;  // address of a running one; one of the two is set
  bool json = false;
  ServerFlags server;  // of the private one
};

// The flag table of `generate`. One for each command line.
class GenerateFlagSet {
 public:
  // A private server takes a free port unless told otherwise.
  GenerateFlagSet();
  GenerateFlagSet(const GenerateFlagSet&) = delete;
  GenerateFlagSet& operator=(const GenerateFlagSet&) = delete;

  FlagSet* flags() { return &set_; }

  // After parsing. INVALID_ARGUMENT for what does not go together.
  absl::StatusOr<GenerateFlags> Where() const;

  // After parsing; what was not given stays unset. The prompt "-" is all of stdin.
  absl::StatusOr<GenerateRequest> Request() const;

 private:
  // Targets of the rows; whether one counts, IsSet says.
  struct Values {
    std::string prompt;
    int64_t max_tokens = 0;
    double temperature = 0;
    double top_p = 0;
    int64_t top_k = 0;
    double min_p = 0;
    uint64_t seed = 0;
    int64_t logprobs = 0;
    std::vector<std::string> stop;
    bool ignore_eos = false;
  };

  void AddServer();
  void AddRequest();
  void AddSampling();

  GenerateFlags where_;
  Values values_;
  FlagSet set_;
};

}  // namespace pagoda
