// Golden traces: scripts of events with the actions that the core answers, in golden/*.txt (the
// README there tells the commands). `--rewrite` writes the files anew instead of comparing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "tests/coordinator/core/core_harness.h"

namespace pagoda::core {
namespace {

using ::testing::HasSubstr;

constexpr char kFolder[] = "tests/coordinator/core/golden";
bool rewrite = false;

using Lines = std::vector<std::string>;

// "submit 1 prompt=5 max=4": a name, numbers, named numbers. A duration counts in milliseconds.
struct Command {
  std::string name;
  std::vector<uint32_t> numbers;
  std::map<std::string, uint32_t> named;
};

absl::StatusOr<uint32_t> ParseNumber(const std::string& text) {
  uint32_t number = 0;
  if (absl::SimpleAtoi(text, &number)) return number;
  absl::Duration duration;
  if (absl::ParseDuration(text, &duration) && duration >= absl::ZeroDuration()) {
    return static_cast<uint32_t>(duration / absl::Milliseconds(1));
  }
  return absl::InvalidArgumentError(absl::StrCat("'", text, "' is no number"));
}

absl::StatusOr<Command> ParseCommand(const std::string& line) {
  const Lines words = absl::StrSplit(line, ' ', absl::SkipEmpty());
  if (words.empty()) return absl::InvalidArgumentError("a command is missing");
  Command command = {.name = words[0]};
  for (size_t i = 1; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    const bool has_name = equals != std::string::npos;
    const auto number = ParseNumber(has_name ? words[i].substr(equals + 1) : words[i]);
    if (!number.ok()) return number.status();
    if (!has_name) {
      command.numbers.push_back(*number);
    } else if (!command.named.emplace(words[i].substr(0, equals), *number).second) {
      return absl::InvalidArgumentError(absl::StrCat("twice: ", words[i]));
    }
  }
  return command;
}

// What a command takes: so many numbers; every name of `needed`, any of `optional`.
struct Rule {
  size_t min_numbers = 0;
  size_t max_numbers = 0;
  std::set<std::string> needed;
  std::set<std::string> optional;
  std::function<Lines(CoreHarness&, const Command&)> run;
};

absl::Status Check(const Rule& rule, const Command& command) {
  const size_t numbers = command.numbers.size();
  if (numbers < rule.min_numbers || numbers > rule.max_numbers) {
    return absl::InvalidArgumentError(absl::StrCat(command.name, " with ", numbers, " numbers"));
  }
  for (const std::string& name : rule.needed) {
    if (command.named.count(name) > 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(command.name, " needs ", name, "="));
  }
  for (const auto& [name, number] : command.named) {
    if (rule.needed.count(name) + rule.optional.count(name) > 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(command.name, " takes no ", name, "="));
  }
  return absl::OkStatus();
}

Lines RunJoin(CoreHarness& harness, const Command& command) {
  return harness.Join({.num_blocks = command.named.at("blocks"),
                       .block_size = command.named.at("size"),
                       .max_lanes = command.named.at("lanes"),
                       .max_step_tokens = command.named.at("tokens"),
                       .max_model_len = command.named.at("len")});
}

Lines RunSubmit(CoreHarness& harness, const Command& command) {
  RequestSpec spec =
      harness.Request(command.numbers[0], command.named.at("prompt"), command.named.at("max"));
  const auto stop = command.named.find("stop");
  if (stop != command.named.end()) spec.stop_token_ids = {static_cast<int32_t>(stop->second)};
  return harness.Submit(std::move(spec));
}

Lines RunAnswer(CoreHarness& harness, const Command& command) {
  StepDone& done = harness.answers().front();
  if (!command.numbers.empty()) {
    done.tokens.assign(command.numbers.begin(), command.numbers.end());
  }
  return harness.Answer();
}

Lines RunJournalWaits(CoreHarness& harness, const Command&) {
  harness.set_journal_at_once(false);
  return {};
}

using H = CoreHarness;
using C = Command;

const std::map<std::string, Rule>& Rules() {
  static const auto& rules = *new std::map<std::string, Rule>{
      {"join", {.needed = {"blocks", "size", "lanes", "tokens", "len"}, .run = RunJoin}},
      {"lose", {.run = [](H& h, const C&) { return h.Lose(); }}},
      {"submit", {1, 1, {"prompt", "max"}, {"stop"}, RunSubmit}},
      {"cancel", {1, 1, {}, {}, [](H& h, const C& c) { return h.Cancel(c.numbers[0]); }}},
      {"detach",
       {1, 1, {}, {}, [](H& h, const C& c) { return h.Apply(Detach{RequestId(c.numbers[0])}); }}},
      {"stopat",
       {2, 2, {}, {}, [](H& h, const C& c) { return h.StopAt(c.numbers[0], c.numbers[1]); }}},
      {"tick",
       {0,
        1,
        {},
        {},
        [](H& h, const C& c) {
          return h.Tick(absl::Milliseconds(c.numbers.empty() ? 0 : c.numbers[0]));
        }}},
      {"answer", {.max_numbers = 1000, .run = RunAnswer}},
      {"drain", {.run = [](H& h, const C&) { return h.Apply(Drain{}); }}},
      {"journal_waits", {.run = RunJournalWaits}},
      {"durable", {.run = [](H& h, const C&) { return h.Durable(); }}},
  };
  return rules;
}

class Script {
 public:
  // The actions of one command line.
  absl::StatusOr<Lines> Run(const std::string& line) {
    const absl::StatusOr<Command> command = ParseCommand(line);
    if (!command.ok()) return command.status();
    if (command->name == "core") return MakeCore(*command);
    const auto rule = Rules().find(command->name);
    if (rule == Rules().end()) {
      return absl::InvalidArgumentError(absl::StrCat("unknown command '", command->name, "'"));
    }
    if (const absl::Status status = Check(rule->second, *command); !status.ok()) return status;
    if (harness_ == nullptr) harness_ = std::make_unique<CoreHarness>();
    if (const absl::Status status = CheckState(*command); !status.ok()) return status;
    return rule->second.run(*harness_, *command);
  }

 private:
  absl::StatusOr<Lines> MakeCore(const Command& command) {
    const Rule rule = {.optional = {"depth", "queued"}};
    if (const absl::Status status = Check(rule, command); !status.ok()) return status;
    if (harness_ != nullptr) return absl::InvalidArgumentError("core comes first");
    CoreOptions options;
    if (command.named.count("depth") > 0) options.depth = command.named.at("depth");
    if (command.named.count("queued") > 0) options.max_queued_requests = command.named.at("queued");
    harness_ = std::make_unique<CoreHarness>(options);
    return Lines();
  }

  // What would be a bug of the script, not an answer of the core.
  absl::Status CheckState(const Command& command) {
    if (command.name == "answer" && harness_->answers().empty()) {
      return absl::InvalidArgumentError("nothing is unanswered");
    }
    if (command.name == "submit" && !submitted_.insert(command.numbers[0]).second) {
      return absl::InvalidArgumentError("this request was submitted before");
    }
    return absl::OkStatus();
  }

  std::unique_ptr<CoreHarness> harness_;
  std::set<uint32_t> submitted_;
};

// The script `text` as it should be: its own commands and comments, each command with what it
// causes.
absl::StatusOr<std::string> Rerun(const std::string& text) {
  Script script;
  std::string result;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.rfind("  ", 0) == 0) continue;  // what it caused before
    absl::StrAppend(&result, line, "\n");
    if (line.empty() || line[0] == '#') continue;
    absl::StatusOr<Lines> actions =
        line[0] == '>' ? script.Run(line.substr(1))
                       : absl::InvalidArgumentError("neither '> command', '# comment' nor '  '");
    if (!actions.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": ", std::string(actions.status().message())));
    }
    for (const std::string& action : *actions) absl::StrAppend(&result, "  ", action, "\n");
  }
  return result;
}

// The first line that differs, both ways; empty if none does.
std::string Difference(const std::string& file, const std::string& core) {
  if (file == core) return "";
  const Lines left = absl::StrSplit(file, '\n');
  const Lines right = absl::StrSplit(core, '\n');
  size_t i = 0;
  while (i < left.size() && i < right.size() && left[i] == right[i]) ++i;
  return absl::StrCat("line ",
                      i + 1,
                      "\n  file: ",
                      i < left.size() ? left[i] : "(the end)",
                      "\n  core: ",
                      i < right.size() ? right[i] : "(the end)");
}

std::vector<std::filesystem::path> Files() {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder, error)) {
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

TEST(GoldenTraceTest, TheCoreAnswersEveryScriptAsItsFileSays) {
  const std::vector<std::filesystem::path> files = Files();
  ASSERT_FALSE(files.empty()) << "no script in " << kFolder;
  for (const std::filesystem::path& path : files) {
    std::stringstream file;
    file << std::ifstream(path).rdbuf();
    const absl::StatusOr<std::string> core = Rerun(file.str());
    if (!core.ok()) {
      ADD_FAILURE() << path.string() << " " << core.status().message();
    } else if (!rewrite) {
      EXPECT_EQ(Difference(file.str(), *core), "") << path.string();
    } else {
      EXPECT_TRUE(std::ofstream(path) << *core) << path.string();
    }
  }
}

TEST(GoldenTraceTest, ADifferenceNamesTheLineAndBothTexts) {
  EXPECT_EQ(Difference("a\nb\n", "a\nb\n"), "");
  EXPECT_EQ(Difference("a\nb\n", "a\nc\n"), "line 2\n  file: b\n  core: c");
  EXPECT_THAT(Difference("a", "a\nb"), HasSubstr("file: (the end)\n  core: b"));
}

TEST(GoldenTraceTest, AScriptThatIsWrongFailsWithItsLineAndReason) {
  const auto error = [](const std::string& text) {
    const absl::StatusOr<std::string> result = Rerun("# a comment\n" + text);
    return result.ok() ? "OK" : std::string(result.status().message());
  };
  EXPECT_EQ(error("> tick 10ms\n"), "OK");
  EXPECT_EQ(error("> tock\n"), "line 2: unknown command 'tock'");
  EXPECT_EQ(error("tick\n"), "line 2: neither '> command', '# comment' nor '  '");
  EXPECT_EQ(error("> cancel one\n"), "line 2: 'one' is no number");
  EXPECT_EQ(error("> cancel 1 2\n"), "line 2: cancel with 2 numbers");
  EXPECT_EQ(error("> submit 1 prompt=2\n"), "line 2: submit needs max=");
  EXPECT_EQ(error("> submit 1 prompt=2 max=3 top=4\n"), "line 2: submit takes no top=");
  EXPECT_EQ(error("> submit 1 max=3 max=4\n"), "line 2: twice: max=4");
  EXPECT_EQ(error("> answer\n"), "line 2: nothing is unanswered");
  EXPECT_EQ(error("> tick\n> core depth=1\n"), "line 3: core comes first");
  EXPECT_EQ(error("> submit 1 prompt=1 max=1\n> submit 1 prompt=1 max=1\n"),
            "line 3: this request was submitted before");
}

}  // namespace
}  // namespace pagoda::core

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  pagoda::core::rewrite = argc == 2 && std::string(argv[1]) == "--rewrite";
  return RUN_ALL_TESTS();
}
