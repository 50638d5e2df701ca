#include "common/log.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>

#include "absl/time/clock.h"
#include "common/escape.h"
#include "common/mutex.h"

namespace pagoda::log {
namespace {

constexpr size_t kMaxStringBytes = 4096;

struct Settings {
  std::atomic<Format> format{Format::kText};
  std::atomic<Severity> min_severity{Severity::kInfo};
  Mutex mu;
  std::string process ABSL_GUARDED_BY(mu);
};

Settings& GlobalSettings() {
  static Settings* const settings = new Settings;  // threads may log while the process exits
  return *settings;
}

std::string Cut(absl::string_view text) {
  if (text.size() <= kMaxStringBytes) return std::string(text);
  size_t end = kMaxStringBytes;
  // Back to the start of a character, but not far: the bytes may not be UTF-8 at all.
  for (int i = 0; i < 3 && (text[end] & 0xC0) == 0x80; ++i) --end;
  return absl::StrCat(text.substr(0, end), "... (", text.size(), " bytes)");
}

absl::string_view SeverityName(Severity severity) {
  switch (severity) {
    case Severity::kInfo:
      return "INFO";
    case Severity::kWarning:
      return "WARNING";
    case Severity::kError:
      return "ERROR";
  }
  return "ERROR";
}

std::string TextValue(const Field& field) {
  if (!field.is_string()) return field.text();
  const std::string cut = Cut(field.text());
  const std::string quoted = JsonQuote(cut);
  const bool plain = !cut.empty() && quoted.size() == cut.size() + 2 &&
                     cut.find_first_of(" =") == std::string::npos;
  return plain ? cut : quoted;
}

std::string JsonValue(const Field& field) {
  return field.is_string() ? JsonQuote(Cut(field.text())) : field.text();
}

void WriteToStderr(absl::string_view line) {
  while (!line.empty()) {
    const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
    if (written > 0) {
      line.remove_prefix(static_cast<size_t>(written));
    } else if (written == 0 || errno != EINTR) {
      return;  // nobody can be told
    }
  }
}

void Write(Severity severity, absl::string_view message, std::initializer_list<Field> fields) {
  Settings& settings = GlobalSettings();
  if (severity < settings.min_severity.load(std::memory_order_relaxed)) return;
  std::string process;
  {
    MutexLock lock(&settings.mu);
    process = settings.process;
  }
  std::string line =
      FormatLine(settings.format.load(), severity, absl::Now(), process, message, fields);
  line += '\n';
  WriteToStderr(line);
}

}  // namespace

Field::Field(absl::string_view name, double value)
    : name_(name), text_(absl::StrCat(value)), is_string_(!std::isfinite(value)) {}

std::string FormatLine(Format format,
                       Severity severity,
                       absl::Time time,
                       absl::string_view process,
                       absl::string_view message,
                       std::initializer_list<Field> fields) {
  const std::string stamp = absl::FormatTime("%Y-%m-%d%ET%H:%M:%E6SZ", time, absl::UTCTimeZone());
  std::string line;
  if (format == Format::kText) {
    line = absl::StrCat(stamp, " ", SeverityName(severity).substr(0, 1), " ");
    if (!process.empty()) absl::StrAppend(&line, EscapeLine(process), " ");
    absl::StrAppend(&line, EscapeLine(Cut(message)));
    for (const Field& f : fields) absl::StrAppend(&line, " ", f.name(), "=", TextValue(f));
    return line;
  }
  line = absl::StrCat("{\"time\":\"", stamp, "\",\"severity\":\"", SeverityName(severity), "\"");
  if (!process.empty()) absl::StrAppend(&line, ",\"process\":", JsonQuote(process));
  absl::StrAppend(&line, ",\"message\":", JsonQuote(Cut(message)));
  for (const Field& f : fields) {
    absl::StrAppend(&line, ",", JsonQuote(f.name()), ":", JsonValue(f));
  }
  return line + "}";
}

void Info(absl::string_view message, std::initializer_list<Field> fields) {
  Write(Severity::kInfo, message, fields);
}

void Warning(absl::string_view message, std::initializer_list<Field> fields) {
  Write(Severity::kWarning, message, fields);
}

void Error(absl::string_view message, std::initializer_list<Field> fields) {
  Write(Severity::kError, message, fields);
}

void SetFormat(Format format) { GlobalSettings().format.store(format); }

void SetProcess(absl::string_view name) {
  Settings& settings = GlobalSettings();
  MutexLock lock(&settings.mu);
  settings.process = std::string(name);
}

void SetMinSeverity(Severity severity) { GlobalSettings().min_severity.store(severity); }

}  // namespace pagoda::log
