// CHECK macros for bugs: on in every build. A failure prints file:line, the condition, the values
// and the streamed message to stderr in one write, then aborts. The passing path is one branch;
// operands are evaluated once. Usable from any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#define CHECK(...)                            \
  while (__builtin_expect(!(__VA_ARGS__), 0)) \
  ::pagoda::check_internal::Failure(__FILE__, __LINE__, "CHECK(" #__VA_ARGS__ ")").stream()

#define CHECK_EQ(a, b) PAGODA_CHECK_OP(Eq, ==, a, b)
#define CHECK_NE(a, b) PAGODA_CHECK_OP(Ne, !=, a, b)
#define CHECK_LT(a, b) PAGODA_CHECK_OP(Lt, <, a, b)
#define CHECK_LE(a, b) PAGODA_CHECK_OP(Le, <=, a, b)
#define CHECK_GT(a, b) PAGODA_CHECK_OP(Gt, >, a, b)
#define CHECK_GE(a, b) PAGODA_CHECK_OP(Ge, >=, a, b)

// `expr` is an absl::Status or an absl::StatusOr.
#define CHECK_OK(...)                                                                      \
  while (const std::string* pagoda_message =                                               \
             ::pagoda::check_internal::CheckOk(__VA_ARGS__, "CHECK_OK(" #__VA_ARGS__ ")")) \
  ::pagoda::check_internal::Failure(__FILE__, __LINE__, pagoda_message->c_str()).stream()

#define PAGODA_CHECK_OP(name, op, a, b)                                          \
  while (const std::string* pagoda_message =                                     \
             ::pagoda::check_internal::CheckOp(::pagoda::check_internal::name{}, \
                                               a,                                \
                                               b,                                \
                                               "CHECK(" #a " " #op " " #b ")"))  \
  ::pagoda::check_internal::Failure(__FILE__, __LINE__, pagoda_message->c_str()).stream()

namespace pagoda::check_internal {

// Collects the message; its destructor prints it and aborts.
class Failure {
 public:
  Failure(const char* file, int line, const char* what);
  Failure(const Failure&) = delete;
  Failure& operator=(const Failure&) = delete;
  [[noreturn]] ~Failure();
  std::ostream& stream();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Builds "what: a vs. b" through an ostream made in check.cc.
class ValuePair {
 public:
  explicit ValuePair(const char* what);
  ~ValuePair();
  std::ostream& first();
  std::ostream& second();
  const std::string* Finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

const std::string* OkMessage(const char* what, const std::string& status);

template <class T>
inline constexpr bool kIsInteger =
    std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char> &&
    !std::is_same_v<T, wchar_t> && !std::is_same_v<T, char8_t> && !std::is_same_v<T, char16_t> &&
    !std::is_same_v<T, char32_t>;

// Integers of different signedness compare by value.
#define PAGODA_CHECK_COMPARATOR(Name, op, std_cmp)            \
  struct Name {                                               \
    template <class A, class B>                               \
    constexpr bool operator()(const A& a, const B& b) const { \
      if constexpr (kIsInteger<A> && kIsInteger<B>) {         \
        return std::std_cmp(a, b);                            \
      } else {                                                \
        return static_cast<bool>(a op b);                     \
      }                                                       \
    }                                                         \
  };
PAGODA_CHECK_COMPARATOR(Eq, ==, cmp_equal)
PAGODA_CHECK_COMPARATOR(Ne, !=, cmp_not_equal)
PAGODA_CHECK_COMPARATOR(Lt, <, cmp_less)
PAGODA_CHECK_COMPARATOR(Le, <=, cmp_less_equal)
PAGODA_CHECK_COMPARATOR(Gt, >, cmp_greater)
PAGODA_CHECK_COMPARATOR(Ge, >=, cmp_greater_equal)
#undef PAGODA_CHECK_COMPARATOR

template <class T>
void Print(std::ostream& os, const T& value) {
  if constexpr (std::is_same_v<T, std::nullptr_t>) {
    os << "nullptr";
  } else if constexpr (std::is_enum_v<T>) {
    os << +static_cast<std::underlying_type_t<T>>(value);
  } else if constexpr (kIsInteger<T>) {
    os << +value;
  } else if constexpr (requires { os << value; }) {
    os << value;
  } else {
    os << "(" << sizeof(T) << " bytes)";
  }
}

template <class A, class B>
[[gnu::cold, gnu::noinline]] const std::string* OpMessage(const A& a,
                                                          const B& b,
                                                          const char* what) {
  ValuePair pair(what);
  Print(pair.first(), a);
  Print(pair.second(), b);
  return pair.Finish();
}

// Null when the comparison holds, else the message.
template <class Comparator, class A, class B>
constexpr const std::string* CheckOp(Comparator holds, const A& a, const B& b, const char* what) {
  if (holds(a, b)) [[likely]]
    return nullptr;
  return OpMessage(a, b, what);
}

template <class S>
constexpr const std::string* CheckOk(const S& s, const char* what) {
  if (s.ok()) [[likely]]
    return nullptr;
  if constexpr (requires { s.status(); }) {
    return OkMessage(what, s.status().ToString());
  } else {
    return OkMessage(what, s.ToString());
  }
}

}  // namespace pagoda::check_internal
