#include "client/cli/supervisor/private_dir.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace pagoda {
namespace {

TEST(PrivateDir, OnlyItsOwnerMayEnter) {
  const auto directory = PrivateDir::Make();
  ASSERT_TRUE(directory.ok()) << directory.status();
  struct stat info = {};
  ASSERT_EQ(stat((*directory)->path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  EXPECT_EQ(info.st_uid, geteuid());
}

TEST(PrivateDir, IsRemovedWithWhatIsInIt) {
  auto directory = PrivateDir::Make();
  ASSERT_TRUE(directory.ok());
  const std::string path = (*directory)->path();
  std::ofstream(path + "/file") << "text";
  ASSERT_TRUE(std::filesystem::exists(path + "/file"));
  directory->reset();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(PrivateDir, TwoAreDifferent) {
  const auto a = PrivateDir::Make();
  const auto b = PrivateDir::Make();
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_NE((*a)->path(), (*b)->path());
}

}  // namespace
}  // namespace pagoda
