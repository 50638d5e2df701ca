// The header's JSON is read without building a document, so its cost is that of the entries alone.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/escape.h"
#include "common/status.h"
#include "worker/model/safetensors.h"

namespace pagoda {
namespace {

using Json = nlohmann::json;

struct DtypeRow {
  FileDtype dtype;
  const char* name;
  int bytes;
};

// In the order of FileDtype.
constexpr DtypeRow kDtypes[] = {
    {FileDtype::kBool, "BOOL", 1},
    {FileDtype::kU8, "U8", 1},
    {FileDtype::kI8, "I8", 1},
    {FileDtype::kF8E4M3, "F8_E4M3", 1},
    {FileDtype::kF8E5M2, "F8_E5M2", 1},
    {FileDtype::kF8E8M0, "F8_E8M0", 1},
    {FileDtype::kI16, "I16", 2},
    {FileDtype::kU16, "U16", 2},
    {FileDtype::kF16, "F16", 2},
    {FileDtype::kBf16, "BF16", 2},
    {FileDtype::kI32, "I32", 4},
    {FileDtype::kU32, "U32", 4},
    {FileDtype::kF32, "F32", 4},
    {FileDtype::kF64, "F64", 8},
    {FileDtype::kI64, "I64", 8},
    {FileDtype::kU64, "U64", 8},
    {FileDtype::kC64, "C64", 8},
};

// One pass over the header: { name: {dtype, shape, data_offsets}…, "__metadata__": {string: string}
// }.
class HeaderSax : public nlohmann::json_sax<Json> {
 public:
  std::vector<TensorEntry> TakeEntries() { return std::move(entries_); }
  const std::string& error() const { return error_; }

  bool start_object(size_t) override {
    switch (state_) {
      case State::kStart:
        state_ = State::kTop;
        return true;
      case State::kEntryStart:
        state_ = State::kEntry;
        return true;
      case State::kMetadataStart:
        state_ = State::kMetadata;
        return true;
      default:
        return Unexpected("an object");
    }
  }

  bool key(string_t& key) override {
    if (state_ == State::kTop) return TopKey(key);
    if (state_ == State::kMetadata) {
      state_ = State::kMetadataValue;
      return true;
    }
    return EntryKey(key);
  }

  bool end_object() override {
    if (state_ == State::kTop) {
      state_ = State::kEnd;
      return true;
    }
    if (state_ == State::kEntry && !(has_dtype_ && has_shape_ && has_offsets_)) {
      return Fail("lacks dtype, shape or data_offsets");
    }
    state_ = State::kTop;
    return true;
  }

  bool start_array(size_t) override {
    if (state_ != State::kShapeStart && state_ != State::kOffsetsStart) return Unexpected("a list");
    state_ = state_ == State::kShapeStart ? State::kShape : State::kOffsets;
    return true;
  }

  bool end_array() override {
    if (state_ == State::kOffsets && offsets_ != 2) return Fail("data_offsets are not two numbers");
    state_ = State::kEntry;
    return true;
  }

  bool string(string_t& value) override {
    if (state_ == State::kMetadataValue) {
      state_ = State::kMetadata;
      return true;
    }
    if (state_ != State::kDtype) return Unexpected("a string");
    for (const DtypeRow& row : kDtypes) {
      if (value != row.name) continue;
      entries_.back().dtype = row.dtype;
      state_ = State::kEntry;
      return true;
    }
    return Fail(absl::StrCat("has the unknown dtype ", QuotedName(value)));
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == State::kShape) {
      std::vector<int64_t>& shape = entries_.back().shape;
      if (shape.size() == kMaxTensorDims) {
        return Fail(absl::StrCat("has more than ", kMaxTensorDims, " dimensions"));
      }
      if (value > uint64_t{INT64_MAX}) return Fail(absl::StrCat("has a dimension of ", value));
      shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (state_ != State::kOffsets) return Unexpected("a number");
    if (offsets_ == 2) return Fail("data_offsets are not two numbers");
    (offsets_++ == 0 ? entries_.back().begin : entries_.back().end) = value;
    return true;
  }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return Unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return Unexpected("a number that is no integer");
  }
  bool binary(binary_t&) override { return Unexpected("bytes"); }
  bool parse_error(size_t position,
                   const std::string&,
                   const nlohmann::detail::exception&) override {
    error_ = absl::StrCat("the header is not valid JSON at byte ", position);
    return false;
  }

 private:
  enum class State {
    kStart,
    kTop,
    kEnd,
    kMetadataStart,
    kMetadata,
    kMetadataValue,
    kEntryStart,
    kEntry,
    kDtype,
    kShapeStart,
    kShape,
    kOffsetsStart,
    kOffsets,
  };

  bool TopKey(const std::string& name) {
    if (!names_.insert(name).second) {
      error_ = absl::StrCat("duplicate tensor name ", QuotedName(name));
      return false;
    }
    if (name == "__metadata__") {
      state_ = State::kMetadataStart;
      return true;
    }
    entries_.push_back(
        {.name = name, .dtype = FileDtype::kBool, .shape = {}, .begin = 0, .end = 0});
    has_dtype_ = has_shape_ = has_offsets_ = false;
    offsets_ = 0;
    state_ = State::kEntryStart;
    return true;
  }

  bool EntryKey(const std::string& key) {
    bool* seen = nullptr;
    if (key == "dtype") {
      seen = &has_dtype_;
      state_ = State::kDtype;
    } else if (key == "shape") {
      seen = &has_shape_;
      state_ = State::kShapeStart;
    } else if (key == "data_offsets") {
      seen = &has_offsets_;
      state_ = State::kOffsetsStart;
    } else {
      return Fail(absl::StrCat("has the unknown field ", QuotedName(key)));
    }
    return std::exchange(*seen, true) ? Fail(absl::StrCat("has ", key, " twice")) : true;
  }

  bool Fail(absl::string_view what) {
    error_ = absl::StrCat("tensor ", QuotedName(entries_.back().name), " ", what);
    return false;
  }

  bool Unexpected(absl::string_view what) {
    if (state_ == State::kStart) {
      error_ = "the header is not a JSON object";
    } else if (state_ == State::kMetadataStart || state_ == State::kMetadataValue) {
      error_ = absl::StrCat("__metadata__ has ", what, " where it must map strings to strings");
    } else {
      return Fail(absl::StrCat("has ", what, " in the wrong place"));
    }
    return false;
  }

  State state_ = State::kStart;
  std::vector<TensorEntry> entries_;       // the last is the one being read
  std::unordered_set<std::string> names_;  // all top-level keys so far
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
  int offsets_ = 0;  // numbers read of data_offsets
  std::string error_;
};

absl::Status CheckSize(const TensorEntry& entry) {
  uint64_t bytes = FileDtypeBytes(entry.dtype);
  for (const int64_t dim : entry.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(dim), &bytes)) {
      return absl::InvalidArgumentError(absl::StrCat("the size of tensor ",
                                                     QuotedName(entry.name),
                                                     " overflows: ",
                                                     ShapeText(entry.shape)));
    }
  }
  if (entry.end < entry.begin || entry.end - entry.begin != bytes) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ",
                                                   QuotedName(entry.name),
                                                   " has the range [",
                                                   entry.begin,
                                                   ", ",
                                                   entry.end,
                                                   ") where ",
                                                   FileDtypeName(entry.dtype),
                                                   ShapeText(entry.shape),
                                                   " needs ",
                                                   bytes,
                                                   " bytes"));
  }
  return absl::OkStatus();
}

absl::Status CheckCoverage(const std::vector<TensorEntry>& entries, uint64_t data_bytes) {
  uint64_t covered = 0;
  for (const TensorEntry& entry : entries) {
    if (entry.begin != covered) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ",
                       QuotedName(entry.name),
                       " begins at byte ",
                       entry.begin,
                       " of the data where ",
                       covered,
                       " is next: ranges ",
                       entry.begin < covered ? "overlap" : "leave a gap"));
    }
    covered = entry.end;
  }
  if (covered != data_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the data section has ",
                     data_bytes,
                     " bytes, the tensors cover ",
                     covered,
                     covered > data_bytes ? ": the file is truncated" : ": bytes are left over"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::string_view FileDtypeName(FileDtype dtype) {
  return kDtypes[static_cast<size_t>(dtype)].name;
}

int FileDtypeBytes(FileDtype dtype) { return kDtypes[static_cast<size_t>(dtype)].bytes; }

std::string QuotedName(absl::string_view name) {
  if (name.size() <= 200) return JsonQuote(name);
  return absl::StrCat(JsonQuote(name.substr(0, 200)), "…");
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<std::vector<TensorEntry>> ParseSafetensorsHeader(absl::string_view header,
                                                                uint64_t data_bytes) {
  if (header.empty() || header[0] != '{') {
    return absl::InvalidArgumentError("the header is not a JSON object");
  }
  // The parser takes a zero byte for the end.
  if (const size_t zero = header.find('\0'); zero != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("the header is not valid JSON at byte ", zero, ": a zero"));
  }
  HeaderSax sax;
  if (!Json::sax_parse(header.begin(), header.end(), &sax)) {
    return absl::InvalidArgumentError(sax.error());
  }
  std::vector<TensorEntry> entries = sax.TakeEntries();
  for (const TensorEntry& entry : entries) RETURN_IF_ERROR(CheckSize(entry));
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  RETURN_IF_ERROR(CheckCoverage(entries, data_bytes));
  return entries;
}

}  // namespace pagoda
