#include "common/version.h"

#include "gtest/gtest.h"

namespace pagoda {
namespace {

TEST(VersionTest, IsTheVersionOfTheBuild) { EXPECT_STREQ(kVersion, PAGODA_CMAKE_VERSION); }

}  // namespace
}  // namespace pagoda
