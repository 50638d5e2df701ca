#include "tests/testing/tiny_model.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace pagoda::testing {

TinyModel::TinyModel(const TinyModelOptions& options) {
  std::string name = (std::filesystem::temp_directory_path() / "pagoda_tiny_XXXXXX").string();
  CHECK(mkdtemp(name.data()) != nullptr) << name;
  path_ = name;
  std::ofstream file(path_ + "/config.json");
  file << absl::StrCat(R"({"architectures": ["LlamaForCausalLM"], "hidden_act": "silu",)",
                       R"("hidden_size": )",
                       options.hidden_size,
                       R"(, "intermediate_size": )",
                       options.intermediate_size,
                       R"(, "num_hidden_layers": )",
                       options.num_layers,
                       R"(, "num_attention_heads": )",
                       options.num_heads,
                       R"(, "num_key_value_heads": )",
                       options.num_kv_heads,
                       R"(, "head_dim": )",
                       options.head_dim,
                       R"(, "vocab_size": )",
                       options.vocab_size,
                       R"(, "max_position_embeddings": )",
                       options.max_position_embeddings,
                       R"(, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,)",
                       R"("tie_word_embeddings": false, "eos_token_id": [2, 5], "torch_dtype": ")",
                       options.dtype,
                       "\"}\n");
  CHECK(file.good()) << path_;
}

TinyModel::~TinyModel() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace pagoda::testing
