#include "worker/model/json_file.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/escape.h"
#include "common/status.h"

namespace pagoda {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxDepth = 64;

// Finds what the document parser would let pass: deep nesting and members named twice.
class StrictSax : public nlohmann::json_sax<Json> {
 public:
  const std::string& error() const { return error_; }

  bool start_object(size_t) override {
    keys_.emplace_back();
    return CheckDepth();
  }
  bool start_array(size_t) override {
    keys_.emplace_back();
    return CheckDepth();
  }
  bool end_object() override { return Pop(); }
  bool end_array() override { return Pop(); }
  bool key(string_t& key) override {
    if (keys_.back().insert(key).second) return true;
    error_ = absl::StrCat("has the member ", JsonQuote(key.substr(0, 200)), " twice");
    return false;
  }
  bool parse_error(size_t position,
                   const std::string&,
                   const nlohmann::detail::exception&) override {
    error_ = absl::StrCat("is not valid JSON at byte ", position);
    return false;
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }

 private:
  bool CheckDepth() {
    if (keys_.size() <= kMaxDepth) return true;
    error_ = absl::StrCat("nests deeper than ", kMaxDepth);
    return false;
  }
  bool Pop() {
    keys_.pop_back();
    return true;
  }

  std::vector<std::set<std::string>> keys_;  // of the objects and lists that are open
  std::string error_;
};

// A value, fit for a message.
std::string Shown(const Json& value) {
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() <= 60 ? text : absl::StrCat(text.substr(0, 57), "...");
}

}  // namespace

absl::StatusOr<Json> ParseJsonObject(const std::string& file, absl::string_view text) {
  // The parser takes a zero byte for the end.
  if (const size_t zero = text.find('\0'); zero != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, " is not valid JSON at byte ", zero, ": a zero"));
  }
  StrictSax strict;
  if (!Json::sax_parse(text.begin(), text.end(), &strict)) {
    return absl::InvalidArgumentError(absl::StrCat(file, " ", strict.error()));
  }
  Json result = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!result.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(file, " is not a JSON object"));
  }
  return result;
}

const Json* JsonFields::Find(absl::string_view field) const {
  if (!status_.ok()) return nullptr;
  const auto it = object_.find(std::string(field));
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

void JsonFields::Fail(absl::string_view field, absl::string_view what) {
  if (!status_.ok()) return;
  status_ =
      absl::InvalidArgumentError(absl::StrCat(file_, ": field \"", prefix_, field, "\" ", what));
}

bool JsonFields::CheckInt(absl::string_view field, const Json& item, int64_t min, int64_t max) {
  // number_unsigned holds every integer >= 0, number_integer every one below.
  bool inside = false;
  if (item.is_number_unsigned()) {
    inside = max >= 0 && item.get<uint64_t>() <= static_cast<uint64_t>(max) &&
             (min < 0 || item.get<uint64_t>() >= static_cast<uint64_t>(min));
  } else if (item.is_number_integer()) {
    inside = item.get<int64_t>() >= min && item.get<int64_t>() <= max;
  }
  if (!inside) {
    Fail(field, absl::StrCat("is ", Shown(item), ", expected an integer from ", min, " to ", max));
  }
  return inside;
}

void JsonFields::Int(absl::string_view field, int64_t min, int64_t max, int64_t* value) {
  const Json* item = Find(field);
  if (item != nullptr && CheckInt(field, *item, min, max)) *value = item->get<int64_t>();
}

void JsonFields::RequireInt(absl::string_view field, int64_t min, int64_t max, int64_t* value) {
  if (!Has(field)) Fail(field, "is missing");
  Int(field, min, max, value);
}

void JsonFields::Number(absl::string_view field, double min, double max, double* value) {
  const Json* item = Find(field);
  if (item == nullptr) return;
  // JSON has no NaN or infinity, so a number is finite.
  if (!item->is_number() || item->get<double>() < min || item->get<double>() > max) {
    return Fail(field,
                absl::StrCat("is ", Shown(*item), ", expected a number from ", min, " to ", max));
  }
  *value = item->get<double>();
}

void JsonFields::Number(absl::string_view field,
                        double min,
                        double max,
                        std::optional<double>* value) {
  if (!Has(field)) return;
  double number = 0;
  Number(field, min, max, &number);
  if (status_.ok()) *value = number;
}

void JsonFields::Bool(absl::string_view field, bool* value) {
  const Json* item = Find(field);
  if (item == nullptr) return;
  if (!item->is_boolean()) {
    return Fail(field, absl::StrCat("is ", Shown(*item), ", expected true or false"));
  }
  *value = item->get<bool>();
}

void JsonFields::String(absl::string_view field, std::string* value) {
  const Json* item = Find(field);
  if (item == nullptr) return;
  if (!item->is_string())
    return Fail(field, absl::StrCat("is ", Shown(*item), ", expected a string"));
  *value = item->get_ref<const std::string&>();
}

void JsonFields::Strings(absl::string_view field, std::vector<std::string>* value) {
  const Json* item = Find(field);
  if (item == nullptr) return;
  bool valid = item->is_array();
  if (valid) {
    for (const Json& element : *item) valid = valid && element.is_string();
  }
  if (!valid) return Fail(field, absl::StrCat("is ", Shown(*item), ", expected a list of strings"));
  for (const Json& element : *item) value->push_back(element.get_ref<const std::string&>());
}

void JsonFields::Ints(absl::string_view field,
                      int64_t min,
                      int64_t max,
                      std::vector<int64_t>* value) {
  const Json* item = Find(field);
  if (item == nullptr) return;
  const Json one = item->is_array() ? *item : Json::array({*item});
  for (const Json& element : one) {
    if (!CheckInt(field, element, min, max)) return;
    value->push_back(element.get<int64_t>());
  }
}

const Json* JsonFields::Object(absl::string_view field) {
  const Json* item = Find(field);
  if (item == nullptr) return nullptr;
  if (!item->is_object()) {
    Fail(field, absl::StrCat("is ", Shown(*item), ", expected an object"));
    return nullptr;
  }
  return item;
}

}  // namespace pagoda
