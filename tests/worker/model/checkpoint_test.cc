#include "worker/model/checkpoint.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/model/model_files.h"

namespace pagoda {
namespace {

using testing::F32Tensor;
using ::testing::HasSubstr;
using testing::SafetensorsBytes;
using testing::TempDir;
using testing::WriteFile;

constexpr char kIndex[] = "model.safetensors.index.json";

// Two files of one tensor each and the given index.
class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() {
    WriteFile(dir_.File("one.safetensors"), SafetensorsBytes({{"a", F32Tensor({1}, {1})}}));
    WriteFile(dir_.File("two.safetensors"), SafetensorsBytes({{"b", F32Tensor({2}, {2, 3})}}));
  }
  absl::StatusOr<Checkpoint> OpenIndexed(const std::string& index) {
    WriteFile(dir_.File(kIndex), index);
    return Checkpoint::Open(dir_.path());
  }
  std::string Error(const std::string& index) {
    return std::string(OpenIndexed(index).status().message());
  }
  TempDir dir_;
};

TEST_F(CheckpointTest, ReadsEachTensorFromTheFileTheIndexNames) {
  const auto checkpoint = OpenIndexed(
      R"({"metadata": {"total_size": 12},
          "weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  ASSERT_EQ(checkpoint->tensors().size(), 2u);
  EXPECT_EQ(checkpoint->tensors().at("a").bytes, F32Tensor({}, {1}).bytes);
  EXPECT_EQ(checkpoint->tensors().at("b").bytes, F32Tensor({}, {2, 3}).bytes);
  EXPECT_EQ(checkpoint->tensor_bytes(), 12u);
  for (const auto& [name, tensor] : checkpoint->tensors()) {
    EXPECT_TRUE(checkpoint->CheckUnchanged(tensor).ok()) << name;
  }
}

TEST_F(CheckpointTest, TheSingleFileWinsOverAnIndex) {
  WriteFile(dir_.File("model.safetensors"), SafetensorsBytes({{"c", F32Tensor({1}, {4})}}));
  const auto checkpoint = OpenIndexed("not even JSON");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE(checkpoint->tensors().contains("c"));
}

TEST_F(CheckpointTest, NoWeightsAreNotFoundAndNameBothPlaces) {
  const absl::Status status = Checkpoint::Open(dir_.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("neither model.safetensors nor"));
}

TEST_F(CheckpointTest, MissingFilesAndTensorsAreNamed) {
  const absl::Status missing =
      OpenIndexed(R"({"weight_map": {"a": "one.safetensors", "b": "three.safetensors"}})").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("three.safetensors"));
  EXPECT_THAT(Error(R"({"weight_map": {"a": "one.safetensors", "x": "two.safetensors"}})"),
              HasSubstr("two.safetensors lacks the tensor \"x\""));
  EXPECT_THAT(Error(R"({"weight_map": {"a": "two.safetensors", "b": "one.safetensors"}})"),
              HasSubstr("lacks the tensor \"a\""));
  EXPECT_THAT(Error(R"({"weight_map": {"a": "one.safetensors"}, "x": "two.safetensors"})"), "");
  WriteFile(dir_.File("two.safetensors"),
            SafetensorsBytes({{"b", F32Tensor({1}, {2})}, {"c", F32Tensor({1}, {2})}}));
  EXPECT_THAT(Error(R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})"),
              HasSubstr("holds the tensor \"c\" that"));
}

TEST_F(CheckpointTest, ATensorInTwoFilesIsAnError) {
  WriteFile(dir_.File("two.safetensors"),
            SafetensorsBytes({{"a", F32Tensor({1}, {9})}, {"b", F32Tensor({1}, {2})}}));
  EXPECT_THAT(Error(R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})"),
              HasSubstr("\"a\" is in"));
}

TEST_F(CheckpointTest, BadIndexesAreRefused) {
  EXPECT_THAT(Error("{"), HasSubstr("not valid JSON"));
  EXPECT_THAT(Error("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(Error("{}"), HasSubstr("\"weight_map\" is missing"));
  EXPECT_THAT(Error(R"({"weight_map": 3})"), HasSubstr("expected an object"));
  EXPECT_THAT(Error(R"({"weight_map": {"a": 3}})"), HasSubstr("no plain file name"));
  EXPECT_THAT(Error(R"({"weight_map": {"a": "x", "a": "y"}})"), HasSubstr("\"a\" twice"));
}

TEST_F(CheckpointTest, AnIndexCannotReachOutsideTheDirectory) {
  for (const std::string file : {"../one.safetensors", "/etc/passwd", "..", ".", "", "a\\u0000b"}) {
    EXPECT_THAT(Error("{\"weight_map\": {\"a\": \"" + file + "\"}}"),
                HasSubstr("no plain file name"))
        << file;
  }
}

TEST_F(CheckpointTest, ACorruptPartIsNamed) {
  WriteFile(dir_.File("two.safetensors"), "short");
  EXPECT_THAT(Error(R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})"),
              HasSubstr("two.safetensors: the file has 5 bytes"));
}

}  // namespace
}  // namespace pagoda
