// Models and flags that cannot work: serve ends, and says why.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/supervisor/private_dir.h"
#include "tests/e2e/processes.h"
#include "tests/e2e/serve.h"

namespace pagoda::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// A copy of the demo model to damage.
class BadModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto directory = PrivateDir::Make();
    ASSERT_TRUE(directory.ok());
    directory_ = *std::move(directory);
    for (const char* name :
         {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}) {
      std::filesystem::copy_file(absl::StrCat(kModel, "/", name), File(name));
    }
  }

  std::string File(const std::string& name) { return absl::StrCat(directory_->path(), "/", name); }
  std::string Read(const std::string& name) { return ReadFile(File(name)); }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(File(name), std::ios::binary) << text;
  }

  // Neither way to start a server gets past it, and both say why.
  void ExpectRefused(const std::string& message) {
    const Outcome serve = RunPagoda({"serve", directory_->path(), "--grpc-port=0"});
    EXPECT_EQ(serve.end, "ended with status 1");
    EXPECT_THAT(serve.err, HasSubstr(message));
    EXPECT_EQ(serve.out, "");
    EXPECT_FALSE(serve.left_processes);
    const Outcome generate = RunPagoda({"generate", "--model", directory_->path(), "--prompt=x"});
    EXPECT_EQ(generate.end, "ended with status 1");
    EXPECT_THAT(generate.err, StartsWith("pagoda generate: "));
    EXPECT_THAT(generate.err, HasSubstr(message));
    EXPECT_EQ(generate.err_lines(), 1u);
    EXPECT_EQ(generate.out, "");
    EXPECT_FALSE(generate.left_processes);
  }

  std::unique_ptr<PrivateDir> directory_;
};

TEST_F(BadModelTest, NoSuchDirectory) {
  const Outcome serve = RunPagoda({"serve", "/no/such/model"});
  EXPECT_EQ(serve.end, "ended with status 1");
  EXPECT_EQ(serve.err, "pagoda serve: no model directory /no/such/model\n");
  const Outcome generate = RunPagoda({"generate", "--model=/no/such/model", "--prompt=x"});
  EXPECT_EQ(generate.end, "ended with status 1");
  EXPECT_EQ(generate.err, "pagoda generate: no model directory /no/such/model\n");
}

TEST_F(BadModelTest, CorruptSafetensorsHeader) {
  std::string weights = Read("model.safetensors");
  weights.replace(0, 8, std::string("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", 8));
  Write("model.safetensors", weights);
  ExpectRefused("model.safetensors");
}

TEST_F(BadModelTest, TruncatedWeights) {
  Write("model.safetensors", Read("model.safetensors").substr(0, 1000000));
  ExpectRefused("truncated");
}

TEST_F(BadModelTest, BrokenConfig) {
  Write("config.json", "{\"hidden_size\": ");
  ExpectRefused("config.json is not valid JSON");
}

TEST_F(BadModelTest, BrokenTokenizer) {
  Write("tokenizer.json", "{}");
  ExpectRefused("tokenizer.json");
}

TEST_F(BadModelTest, UnsupportedArchitecture) {
  std::string config = Read("config.json");
  const std::string name = "LlamaForCausalLM";
  config.replace(config.find(name), name.size(), "MambaForCausalLM");
  Write("config.json", config);
  ExpectRefused("MambaForCausalLM");
}

TEST_F(BadModelTest, MissingWeights) {
  std::filesystem::remove(File("model.safetensors"));
  ExpectRefused("model.safetensors");
}

TEST(BadFlagTest, AFlagTheServerCannotUseEndsItWithTheLimit) {
  const Outcome outcome = RunPagoda({"serve", kModel, "--grpc-port=0", "--block-size=7"});
  EXPECT_EQ(outcome.end, "ended with status 1");
  EXPECT_THAT(outcome.err, HasSubstr("--block-size is 7; it must be 8, 16, 32, 64 or 128"));
}

TEST(BadFlagTest, APoolWithoutABlockEndsIt) {
  const Outcome outcome =
      RunPagoda({"generate", "--model", kModel, "--prompt=x", "--kv-cache-memory-bytes=49151"});
  EXPECT_EQ(outcome.end, "ended with status 1");
  EXPECT_EQ(outcome.err,
            "pagoda generate: the coordinator ended with status 1: no KV block fits: a block of 16 "
            "tokens needs 49152 bytes, available are 49151\n");
  EXPECT_FALSE(outcome.left_processes);
}

TEST(BadFlagTest, ATakenPortEndsIt) {
  Serve serve;
  const std::string address = serve.address();
  const std::string port = address.substr(address.find(':') + 1);
  const Outcome outcome = RunPagoda({"serve", kModel, "--grpc-port", port});
  EXPECT_EQ(outcome.end, "ended with status 1");
  EXPECT_THAT(outcome.err, HasSubstr(absl::StrCat("cannot listen on 127.0.0.1:", port)));
}

}  // namespace
}  // namespace pagoda::e2e
