// What the server and the client share: flags, the service's text and limits.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

namespace bench {

inline constexpr int kMessageBytesMax = 8 * 1024 * 1024;
inline constexpr char kFill = 'x';

[[noreturn]] inline void Fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

// `--name value` pairs; what was not given is the default, what is not known is an error.
class Flags {
 public:
  Flags(int argc, char** argv, std::map<std::string, std::string> defaults)
      : values_(std::move(defaults)) {
    for (int i = 1; i < argc; i += 2) {
      const std::string name = argv[i];
      auto known = name.rfind("--", 0) == 0 ? values_.find(name.substr(2)) : values_.end();
      if (known == values_.end()) Fail("unknown flag " + name);
      if (i + 1 == argc) Fail(name + " needs a value");
      known->second = argv[i + 1];
    }
  }

  const std::string& Text(const std::string& name) const { return values_.at(name); }

  double Number(const std::string& name) const {
    const std::string& text = Text(name);
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(number >= 0)) {
      Fail("--" + name + ": not a number: " + text);
    }
    return number;
  }

 private:
  std::map<std::string, std::string> values_;
};

// All of a file.
inline std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Fail("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline std::string Greeting(const std::string& message) {
  return "Hello I am up and running received \"" + message + "\" message from you";
}

}  // namespace bench
