// Model directories that tests write for themselves: small, valid unless the test breaks them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace pagoda::testing {

// A directory of its own, removed with everything in it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void WriteFile(const std::string& path, const std::string& bytes);
std::string ReadFile(const std::string& path);

// The 8-byte length, the header, the data.
std::string SafetensorsBytes(const std::string& header, const std::string& data);

struct TestTensor {
  std::string dtype;  // "F32"
  std::vector<int64_t> shape;
  std::string bytes;
};
using TestTensors = std::map<std::string, TestTensor>;

TestTensor F32Tensor(const std::vector<int64_t>& shape, const std::vector<float>& values);
TestTensor Bf16Tensor(const std::vector<int64_t>& shape, const std::vector<float>& values);
std::string SafetensorsBytes(const TestTensors& tensors);

// config.json of a Llama of 2 layers, hidden 32, 4 heads of 8 over 2 KV heads, 48 features, 16
// words.
std::string TinyConfig(bool tied);

// Its weights; each element is a multiple of 1/64 that bf16 and f16 hold exactly, unlike from
// tensor to tensor.
TestTensors TinyWeights(bool tied);

// Writes config.json and model.safetensors.
void WriteTinyModel(const std::string& directory, bool tied);

// The same for a Llama that 2 and 4 ranks can divide: 2 layers, hidden 64, 4 heads of 32 over 2 KV
// heads, 128 features, 75 words, biases everywhere; its elements are random bf16.
std::string ShardableConfig();
TestTensors ShardableWeights();
void WriteShardableModel(const std::string& directory);

}  // namespace pagoda::testing
