// For tests: archives in pg_dump's custom format, made field by field from its sources.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"

namespace pgmint::logical {

class TestingArchive {
 public:
  explicit TestingArchive(unsigned minor = 14) : minor_(minor) {
    text_ = "PGDMP";
    for (const unsigned b : {1U, minor, 0U, 4U, 8U, 1U}) byte(b);
    if (minor >= 15) byte(0);
    else integer(0);
    for (int i = 0; i < 7; ++i) integer(i);
    text("shop");
    text("15.4");
    text("15.5");
  }
  void entries(int count) { integer(count); }
  void entry(int id, const std::string& name, const std::string& kind, int section, bool copy = false, const std::vector<int>& needs = {}, const std::string& made = "CREATE ...") {
    const bool has_data = copy || kind == "BLOBS";
    integer(id);
    integer(has_data ? 1 : 0);
    text("1259");
    text("16384");
    text(name);
    text(kind);
    integer(section);
    text(made);
    text("DROP ...");
    if (copy) text("COPY public." + name + " (a) FROM stdin;\n");
    else none();
    text("public");
    text("");
    none();
    if (minor_ >= 16) integer('r');
    text("owner of " + name);
    text("false");
    for (const int need : needs) text(std::to_string(need));
    none();
    byte(has_data ? 1 : 3);
    for (int i = 0; i < 8; ++i) byte(0);
  }
  void data(int id, const std::vector<std::string>& pieces) {
    byte(1);
    integer(id);
    for (const auto& piece : pieces) text(piece);
    integer(0);
  }
  void large_objects(int id, const std::vector<std::pair<int, std::string>>& objects) {
    byte(3);
    integer(id);
    for (const auto& [oid, content] : objects) {
      integer(oid);
      text(content);
      integer(0);
    }
    integer(0);
  }
  const std::string& bytes() const { return text_; }

 private:
  void byte(unsigned b) { text_ += static_cast<char>(b); }
  void integer(int value) {
    byte(value < 0 ? 1 : 0);
    const unsigned absolute = static_cast<unsigned>(value < 0 ? -value : value);
    for (unsigned i = 0; i < 4; ++i) byte(absolute >> (8 * i) & 0xFF);
  }
  void text(const std::string& t) {
    integer(static_cast<int>(t.size()));
    text_ += t;
  }
  void none() { integer(-1); }

  unsigned minor_;
  std::string text_;
};

}  // namespace pgmint::logical
