#include "client/cli/supervisor/line_reader.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class LineReaderTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(pipe2(ends_, O_NONBLOCK), 0); }
  void TearDown() override {
    close(ends_[0]);
    CloseWriter();
  }
  void Write(const std::string& text) {
    ASSERT_EQ(write(ends_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void CloseWriter() {
    if (ends_[1] >= 0) close(ends_[1]);
    ends_[1] = -1;
  }
  std::vector<std::string> Read() { return reader_.Read(ends_[0]); }

  int ends_[2] = {-1, -1};
  LineReader reader_;
};

TEST_F(LineReaderTest, ALineComesWhenItIsWhole) {
  EXPECT_THAT(Read(), IsEmpty());
  Write("one\n\ntw");
  EXPECT_THAT(Read(), ElementsAre("one", ""));
  Write("o");
  EXPECT_THAT(Read(), IsEmpty());
  Write("\n");
  EXPECT_THAT(Read(), ElementsAre("two"));
  EXPECT_FALSE(reader_.at_end());
}

TEST_F(LineReaderTest, TheEndCompletesTheLastLine) {
  Write("last words");
  EXPECT_THAT(Read(), IsEmpty());
  CloseWriter();
  EXPECT_THAT(Read(), ElementsAre("last words"));
  EXPECT_TRUE(reader_.at_end());
  EXPECT_THAT(Read(), IsEmpty());
}

TEST_F(LineReaderTest, AnEndlessLineIsCutInPieces) {
  std::vector<std::string> lines;
  const std::string piece(4096, 'x');
  for (size_t sent = 0; sent < LineReader::kMaxLine + piece.size(); sent += piece.size()) {
    Write(piece);
    for (std::string& line : Read()) lines.push_back(std::move(line));
  }
  EXPECT_THAT(lines, ElementsAre(SizeIs(LineReader::kMaxLine)));
}

}  // namespace
}  // namespace pagoda
