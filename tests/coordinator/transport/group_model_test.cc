#include "coordinator/transport/group_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pagoda {
namespace {

using ::testing::HasSubstr;

class GroupModelTest : public ::testing::Test {
 protected:
  void Add(uint64_t divided_hash, const std::string& host, uint64_t memory) {
    v1::ModelInfo& model = models_.emplace_back();
    model.set_architecture("LlamaForCausalLM");
    model.set_dtype("bfloat16");
    model.set_identity(42);
    model.set_divided_hash(divided_hash);
    model.set_max_position_embeddings(4096);
    model.set_kv_bytes_per_token(1000);
    v1::ProfileResponse& profile = profiles_.emplace_back();
    profile.set_host(host);
    profile.set_pool_memory_bytes(memory / 2);
  }
  absl::StatusOr<GroupModel> Together() { return PutTogether(models_, profiles_, {}); }

  std::vector<v1::ModelInfo> models_;
  std::vector<v1::ProfileResponse> profiles_;
};

TEST_F(GroupModelTest, TheFingerprintDoesNotDependOnTheNumberOfRanks) {
  Add(0xf0 ^ 0x0c ^ 0x03, "a", 1 << 30);
  const auto one = Together();
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(one->fingerprint.size(), 16u);
  models_[0].set_divided_hash(0xf0);
  Add(0x0c, "a", 1 << 30);
  Add(0x00, "a", 1 << 30);  // holds what a lower rank holds, too
  Add(0x03, "a", 1 << 30);
  EXPECT_EQ(Together()->fingerprint, one->fingerprint);
  models_[3].set_divided_hash(0x02);
  EXPECT_NE(Together()->fingerprint, one->fingerprint);
  models_[3].set_divided_hash(0x03);
  for (auto& model : models_) model.set_identity(43);
  EXPECT_NE(Together()->fingerprint, one->fingerprint);
}

// Half of the memory, in blocks of 16 tokens of 1,000 bytes.
TEST_F(GroupModelTest, ThePoolIsThatOfTheSmallestRank) {
  Add(1, "a", 32'000'000);
  Add(2, "b", 3'200'000);
  EXPECT_EQ(Together()->capacity.num_blocks, 100u);
}

TEST_F(GroupModelTest, RanksOfOneHostDivideItsMemory) {
  Add(1, "a", 32'000'000);
  EXPECT_EQ(Together()->capacity.num_blocks, 1000u);
  Add(2, "a", 32'000'000);
  EXPECT_EQ(Together()->capacity.num_blocks, 500u);
}

TEST_F(GroupModelTest, RanksOfAnotherModelAreNamed) {
  Add(1, "a", 1 << 30);
  Add(2, "a", 1 << 30);
  models_[1].set_identity(41);
  models_[1].set_dtype("float32");
  const absl::Status status = Together().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("rank 1 has loaded another model, dtype or version than rank 0: "
                        "LlamaForCausalLM in float32, LlamaForCausalLM in bfloat16"));
}

}  // namespace
}  // namespace pagoda
