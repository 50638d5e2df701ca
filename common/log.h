// Structured logging to stderr: one line, one write(2). Text:
//   2026-01-31T12:00:00.123456Z I worker-0 worker ready rank=0 device="cpu 0"
// or JSON lines:
//   {"time":"2026-…Z","severity":"INFO","process":"worker-0","message":"worker ready","rank":0}
// Control characters and invalid UTF-8 are escaped, so no value can forge a line or move a
// terminal. Safe from any thread.
//
//   log::Info("worker ready", {{"rank", rank}, {"address", address}});
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace pagoda::log {

enum class Severity { kInfo, kWarning, kError };
enum class Format { kText, kJson };

// A named value: number, bool, string, or absl::Duration. The name is a plain word and must live
// until the call returns.
class Field {
 public:
  Field(absl::string_view name, bool value)
      : name_(name), text_(value ? "true" : "false"), is_string_(false) {}
  Field(absl::string_view name, double value);
  template <class T>
    requires std::is_integral_v<T>
  Field(absl::string_view name, T value)
      : name_(name), text_(absl::StrCat(value)), is_string_(false) {}
  Field(absl::string_view name, absl::string_view value)
      : name_(name), text_(value), is_string_(true) {}
  Field(absl::string_view name, const char* value) : Field(name, absl::string_view(value)) {}
  Field(absl::string_view name, const std::string& value) : Field(name, absl::string_view(value)) {}
  Field(absl::string_view name, std::string_view value)
      : Field(name, absl::string_view(value.data(), value.size())) {}
  Field(absl::string_view name, absl::Duration value) : Field(name, absl::FormatDuration(value)) {}

  absl::string_view name() const { return name_; }
  const std::string& text() const { return text_; }
  bool is_string() const { return is_string_; }  // to be quoted in JSON

 private:
  absl::string_view name_;
  std::string text_;
  bool is_string_;
};

void Info(absl::string_view message, std::initializer_list<Field> fields = {});
void Warning(absl::string_view message, std::initializer_list<Field> fields = {});
void Error(absl::string_view message, std::initializer_list<Field> fields = {});

// Of the whole process; usually called once by main().
void SetFormat(Format format);
void SetProcess(absl::string_view name);  // shown in every line; empty (the default) for none
void SetMinSeverity(Severity severity);   // lines below are dropped; default kInfo

// One line, without its line feed. Strings beyond 4 KiB are cut, and say so.
std::string FormatLine(Format format,
                       Severity severity,
                       absl::Time time,
                       absl::string_view process,
                       absl::string_view message,
                       std::initializer_list<Field> fields);

}  // namespace pagoda::log
