// A small random Llama for tests: a directory with a config.json alone, for --load-format dummy.
#pragma once

#include <string>

namespace pagoda::testing {

struct TinyModelOptions {
  int vocab_size = 512;
  int hidden_size = 64;
  int intermediate_size = 96;
  int num_layers = 2;
  int num_heads = 4;
  int num_kv_heads = 2;
  int head_dim = 32;
  int max_position_embeddings = 2048;
  std::string dtype = "float32";
};

// The directory is removed with this object.
class TinyModel {
 public:
  explicit TinyModel(const TinyModelOptions& options = {});
  ~TinyModel();
  TinyModel(const TinyModel&) = delete;
  TinyModel& operator=(const TinyModel&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace pagoda::testing
