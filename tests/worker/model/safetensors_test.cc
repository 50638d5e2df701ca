#include "worker/model/safetensors.h"

#include <sys/stat.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/model/model_files.h"

namespace pagoda {
namespace {

using testing::Bf16Tensor;
using testing::F32Tensor;
using ::testing::HasSubstr;
using testing::SafetensorsBytes;
using testing::TempDir;
using testing::WriteFile;

// Opens `bytes` as a file.
absl::StatusOr<SafetensorsFile> OpenBytes(const std::string& bytes) {
  const TempDir dir;
  WriteFile(dir.File("model.safetensors"), bytes);
  return SafetensorsFile::Open(dir.File("model.safetensors"));
}

std::string TwoTensors() {
  return SafetensorsBytes(
      {{"a", F32Tensor({2, 3}, {1, 2, 3, 4, 5, 6})}, {"b", Bf16Tensor({4}, {1, 2, 3, 4})}});
}

TEST(SafetensorsTest, ReadsNamesShapesAndBytes) {
  const auto file = OpenBytes(TwoTensors());
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->tensors().size(), 2u);
  const TensorEntry& a = file->tensors()[0];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.dtype, FileDtype::kF32);
  EXPECT_EQ(a.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(file->Bytes(a), F32Tensor({}, {1, 2, 3, 4, 5, 6}).bytes);
  EXPECT_EQ(file->Bytes(file->tensors()[1]), Bf16Tensor({}, {1, 2, 3, 4}).bytes);
}

TEST(SafetensorsTest, AcceptsScalarsEmptyTensorsPaddingAndAnyOrderInTheHeader) {
  const auto file = OpenBytes(
      SafetensorsBytes(R"({"z": {"data_offsets": [4, 5], "shape": [1, 1], "dtype": "U8"},)"
                       R"( "none": {"dtype": "I64", "shape": [0, 7], "data_offsets": [4, 4]},)"
                       R"( "one": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}     )",
                       "abcde"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->tensors()[0].name, "one");
  EXPECT_EQ(file->tensors()[1].name, "none");
  EXPECT_EQ(file->Bytes(file->tensors()[2]), "e");
}

TEST(SafetensorsTest, EveryDtypeHasItsSize) {
  for (const auto& [name, bytes] : std::vector<std::pair<std::string, int>>{{"BOOL", 1},
                                                                            {"U8", 1},
                                                                            {"I8", 1},
                                                                            {"F8_E4M3", 1},
                                                                            {"F8_E5M2", 1},
                                                                            {"F8_E8M0", 1},
                                                                            {"I16", 2},
                                                                            {"U16", 2},
                                                                            {"F16", 2},
                                                                            {"BF16", 2},
                                                                            {"I32", 4},
                                                                            {"U32", 4},
                                                                            {"F32", 4},
                                                                            {"F64", 8},
                                                                            {"I64", 8},
                                                                            {"U64", 8},
                                                                            {"C64", 8}}) {
    const auto entries =
        ParseSafetensorsHeader(absl::StrCat(R"({"t": {"dtype": ")",
                                            name,
                                            R"(", "shape": [3], "data_offsets": [0, )",
                                            3 * bytes,
                                            "]}}"),
                               3 * bytes);
    ASSERT_TRUE(entries.ok()) << entries.status();
    EXPECT_EQ(FileDtypeName((*entries)[0].dtype), name);
    EXPECT_EQ(FileDtypeBytes((*entries)[0].dtype), bytes);
  }
}

struct Corruption {
  const char* what;
  std::string bytes;
  const char* message;  // a part of the error's
};

std::string Header(const std::string& header, size_t data = 0) {
  return SafetensorsBytes(header, std::string(data, 'x'));
}

std::string Tensor(const std::string& dtype,
                   const std::string& shape,
                   const std::string& offsets,
                   size_t data) {
  return Header(absl::StrCat(R"({"t": {"dtype": ")",
                             dtype,
                             R"(", "shape": )",
                             shape,
                             R"(, "data_offsets": )",
                             offsets,
                             "}}"),
                data);
}

std::string U8(const std::string& name, const std::string& offsets, int size) {
  return absl::StrCat("\"",
                      name,
                      R"(": {"dtype": "U8", "shape": [)",
                      size,
                      R"(], "data_offsets": )",
                      offsets,
                      "}");
}

std::vector<Corruption> FramingCorruptions() {
  const std::string valid = TwoTensors();
  return {
      {"empty file", "", "0 bytes"},
      {"cut length", valid.substr(0, 7), "fewer than the 8"},
      {"length alone", std::string("\5\0\0\0\0\0\0\0", 8), "truncated"},
      {"length beyond the file", std::string("\xff\xff\0\0\0\0\0\0{}", 10), "truncated"},
      {"length that wraps", std::string(8, '\xff') + "{}", "limit is 100000000"},
      {"header over 100 MB", std::string("\1\xe1\xf5\5\0\0\0\0{}", 10), "limit is 100000000"},
      {"empty header", Header(""), "not a JSON object"},
      {"header is a list", Header("[]"), "not a JSON object"},
      {"header is text", Header("hello"), "not a JSON object"},
      {"cut header", Header(R"({"t": {"dtype")"), "not valid JSON at byte"},
      {"two documents", Header("{} {}"), "not valid JSON"},
      {"invalid UTF-8", Header("{\"\xff\": {}}"), "not valid JSON"},
      {"zero byte", Header(std::string("{}\0", 3)), "not valid JSON"},
      {"cut data", valid.substr(0, valid.size() - 1), "truncated"},
      {"bytes left over", valid + "x", "left over"},
  };
}

std::vector<Corruption> HeaderCorruptions() {
  const std::string a = U8("a", "[0, 2]", 2);
  return {
      {"data without tensors", Header("{}", 1), "left over"},
      {"duplicate name", Header("{" + a + "," + a + "}", 2), "duplicate tensor name \"a\""},
      {"two metadata", Header(R"({"__metadata__": {}, "__metadata__": {}})"), "duplicate"},
      {"metadata of numbers", Header(R"({"__metadata__": {"a": 1}})"), "strings to strings"},
      {"metadata is a list", Header(R"({"__metadata__": []})"), "strings to strings"},
      {"tensor is a number", Header(R"({"t": 1})"), "wrong place"},
      {"no dtype", Header(R"({"t": {"shape": [], "data_offsets": [0, 0]}})"), "lacks"},
      {"no offsets", Header(R"({"t": {"shape": [], "dtype": "U8"}})"), "lacks"},
      {"dtype twice", Header(R"({"t": {"dtype": "U8", "dtype": "U8"}})"), "dtype twice"},
      {"unknown field", Header(R"({"t": {"strides": [1]}})"), "unknown field \"strides\""},
      {"dtype is a number", Header(R"({"t": {"dtype": 3}})"), "wrong place"},
      {"shape is a string", Header(R"({"t": {"shape": "3"}})"), "wrong place"},
      {"shape in shape", Header(R"({"t": {"shape": [[3]]}})"), "wrong place"},
      {"deep nesting", Header(R"({"t": )" + std::string(100000, '[')), "wrong place"},
      {"unknown dtype", Tensor("F3", "[1]", "[0, 1]", 1), "unknown dtype \"F3\""},
      {"negative dimension", Tensor("U8", "[-1]", "[0, 1]", 1), "negative number"},
      {"fractional dimension", Tensor("U8", "[1.5]", "[0, 1]", 1), "no integer"},
      {"dimension over int64", Tensor("U8", "[9223372036854775808]", "[0, 1]", 1), "dimension"},
      {"nine dimensions", Tensor("U8", "[1,1,1,1,1,1,1,1,1]", "[0, 1]", 1), "more than 8"},
      {"product overflows to 0",
       Tensor("U8", "[4294967296, 4294967296]", "[0, 0]", 0),
       "overflows"},
      {"bytes overflow", Tensor("F64", "[2305843009213693952]", "[0, 0]", 0), "overflows"},
      {"one offset", Tensor("U8", "[1]", "[0]", 1), "not two numbers"},
      {"three offsets", Tensor("U8", "[1]", "[0, 1, 2]", 1), "not two numbers"},
      {"negative offset", Tensor("U8", "[1]", "[-1, 0]", 1), "negative number"},
      {"offsets reversed", Tensor("U8", "[1]", "[1, 0]", 1), "needs 1 bytes"},
      {"range too small", Tensor("F32", "[2]", "[0, 4]", 4), "needs 8 bytes"},
      {"range too large", Tensor("F32", "[1]", "[0, 8]", 8), "needs 4 bytes"},
      {"range beyond the file", Tensor("U8", "[9]", "[0, 9]", 4), "truncated"},
      {"gap at the start", Tensor("U8", "[1]", "[1, 2]", 2), "leave a gap"},
      {"gap", Header("{" + a + "," + U8("b", "[3, 4]", 1) + "}", 4), "leave a gap"},
      {"overlap", Header("{" + a + "," + U8("b", "[1, 3]", 2) + "}", 3), "overlap"},
      {"same range twice", Header("{" + a + "," + U8("b", "[0, 2]", 2) + "}", 2), "overlap"},
  };
}

TEST(SafetensorsTest, EachCorruptionIsAnErrorThatNamesTheFileAndTheFault) {
  std::vector<Corruption> all = FramingCorruptions();
  for (Corruption& corruption : HeaderCorruptions()) all.push_back(std::move(corruption));
  for (const Corruption& corruption : all) {
    const auto file = OpenBytes(corruption.bytes);
    ASSERT_FALSE(file.ok()) << corruption.what;
    EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << corruption.what;
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(corruption.message))
        << corruption.what;
    EXPECT_THAT(std::string(file.status().message()), HasSubstr("model.safetensors: "))
        << corruption.what;
  }
}

TEST(SafetensorsTest, EveryTruncationIsAnError) {
  const std::string valid = TwoTensors();
  for (size_t size = 0; size < valid.size(); ++size) {
    EXPECT_FALSE(OpenBytes(valid.substr(0, size)).ok()) << size << " bytes";
  }
}

// Whatever is accepted must be readable to its last byte (the sanitizers watch).
TEST(SafetensorsTest, RandomDamageNeverReachesOutsideTheFile) {
  const std::string valid = TwoTensors();
  Random random(7);
  int accepted = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = valid;
    for (uint64_t flips = 1 + random.Below(3); flips > 0; --flips) {
      bytes[random.Below(bytes.size())] = static_cast<char>(random.Below(256));
    }
    uint64_t length;
    std::memcpy(&length, bytes.data(), sizeof(length));
    const size_t size = bytes.size() - sizeof(length);
    if (length > size) continue;
    const std::string header = bytes.substr(sizeof(length), length);
    const auto entries = ParseSafetensorsHeader(header, size - length);
    if (!entries.ok()) continue;
    ++accepted;
    for (const TensorEntry& entry : *entries) {
      ASSERT_LE(entry.begin, entry.end);
      ASSERT_LE(entry.end, size - length);
    }
  }
  EXPECT_GT(accepted, 100);  // damage in the data or in a name
}

TEST(SafetensorsTest, MessagesCarryNoControlCharactersOrLongNames) {
  const auto file =
      OpenBytes(Header("{\"\\u001b[2J" + std::string(5000, 'n') + R"(": {"dtype": "nope"}})"));
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.status().message().find('\x1b'), absl::string_view::npos);
  EXPECT_LT(file.status().message().size(), 600u);
}

TEST(SafetensorsTest, WhatIsNoRegularFileIsRefusedWithoutWaiting) {
  const TempDir dir;
  EXPECT_EQ(SafetensorsFile::Open(dir.path()).status().code(), absl::StatusCode::kInvalidArgument);
  ASSERT_EQ(mkfifo(dir.File("fifo").c_str(), 0600), 0);
  EXPECT_EQ(SafetensorsFile::Open(dir.File("fifo")).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(SafetensorsFile::Open(dir.File("absent")).status().code(), absl::StatusCode::kNotFound);
}

TEST(SafetensorsTest, AFileThatShrinksGrowsOrIsWrittenAfterOpeningIsSeen) {
  const TempDir dir;
  const std::string path = dir.File("model.safetensors");
  const std::string valid = TwoTensors();
  for (const size_t size : {valid.size() - 1, valid.size() + 1, size_t{0}}) {
    WriteFile(path, valid);
    const auto file = SafetensorsFile::Open(path);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE(file->file().CheckUnchanged().ok());
    std::filesystem::resize_file(path, size);
    const absl::Status changed = file->file().CheckUnchanged();
    EXPECT_EQ(changed.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(changed.message()), HasSubstr("changed while it was read"));
  }
  WriteFile(path, valid);
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok());
  std::filesystem::last_write_time(
      path,
      std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_THAT(std::string(file->file().CheckUnchanged().message()), HasSubstr("was written"));
}

}  // namespace
}  // namespace pagoda
