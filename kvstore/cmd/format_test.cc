// Expected texts are what etcdctl 3.4.23 printed for the same values.
#include "kvstore/cmd/format.h"

#include <catch2/catch.hpp>
#include <string>

namespace keelson::kvctl {

TEST_CASE("Quoting keeps printable UTF-8 and escapes the rest", "[kvctl][format]") {
  CHECK(Quote("") == R"("")");
  CHECK(Quote("he said \"hi\" \\") == R"("he said \"hi\" \\")");
  CHECK(Quote("\n\t\r\a\b\f\v") == R"("\n\t\r\a\b\f\v")");
  CHECK(Quote(std::string("\0\x01\x7f", 3)) == R"("\x00\x01\x7f")");
  CHECK(Quote("\xc3\xa9\xe2\x82\xac") == "\"\xc3\xa9\xe2\x82\xac\"");
  CHECK(Quote("\xe2\x80\x8b") == R"("\u200b")");
  CHECK(Quote("\xff\xc3") == R"("\xff\xc3")");
  CHECK(Quote("\xed\xa0\x80") == R"("\xed\xa0\x80")");  // a surrogate
  CHECK(Quote("\xc0\x80") == R"("\xc0\x80")");          // an overlong zero
  CHECK(Quote("\xf0\x9f\x98\x80") == "\"\xf0\x9f\x98\x80\"");
  CHECK(Quote("\xf4\x90\x80\x80") == R"("\xf4\x90\x80\x80")");  // beyond U+10FFFF
}

TEST_CASE("JSON strings are valid and safe in HTML", "[kvctl][format]") {
  CHECK(JsonString("a\"\\\n\x01") == "\"a\\\"\\\\\\n\\u0001\"");
  CHECK(JsonString("<a>&") == "\"\\u003ca\\u003e\\u0026\"");
  CHECK(JsonString("\xff") == "\"\\ufffd\"");
  CHECK(JsonString("\xe2\x80\xa8") == "\"\\u2028\"");
}

TEST_CASE("Durations have the unit that fits and no zeros at the end", "[kvctl][format]") {
  CHECK(DurationText(absl::ZeroDuration()) == "0s");
  CHECK(DurationText(absl::Nanoseconds(15)) == "15ns");
  CHECK(DurationText(absl::Nanoseconds(1500)) == "1.5\xc2\xb5s");
  CHECK(DurationText(absl::Nanoseconds(1619487)) == "1.619487ms");
  CHECK(DurationText(absl::Nanoseconds(13000000)) == "13ms");
  CHECK(DurationText(absl::Nanoseconds(5000374852)) == "5.000374852s");
  CHECK(DurationText(absl::Seconds(90)) == "1m30s");
  CHECK(DurationText(absl::Seconds(3600)) == "1h0m0s");
  CHECK(DurationText(absl::Milliseconds(-50)) == "-50ms");
}

TEST_CASE("Sizes step by 1000 and have a decimal below 10", "[kvctl][format]") {
  CHECK(SizeText(0) == "0 B");
  CHECK(SizeText(9) == "9 B");
  CHECK(SizeText(999) == "999 B");
  CHECK(SizeText(1000) == "1.0 kB");
  CHECK(SizeText(20480) == "20 kB");
  CHECK(SizeText(9960) == "10 kB");
  CHECK(SizeText(1500000) == "1.5 MB");
  CHECK(SizeText(18446744073709551615ULL) == "18 EB");
}

TEST_CASE("Ids are hexadecimal", "[kvctl][format]") {
  CHECK(IdText(0x6183134728c20dcdULL) == "6183134728c20dcd");
  CHECK(IdText(0xab) == "ab");
  CHECK(LeaseIdText(0x1234) == "0000000000001234");
  CHECK(LeaseIdText(-1) == "ffffffffffffffff");
  CHECK(Hex("b\xff") == "\\x62\\xff");
}

TEST_CASE("A table centres its header and aligns cells to the right", "[kvctl][format]") {
  CHECK(Table({"endpoint", "health", "took", "error"},
              {{"127.0.0.1:14379", "true", "1.330399ms", ""}}) ==
        "+-----------------+--------+------------+-------+\n"
        "|    ENDPOINT     | HEALTH |    TOOK    | ERROR |\n"
        "+-----------------+--------+------------+-------+\n"
        "| 127.0.0.1:14379 |   true | 1.330399ms |       |\n"
        "+-----------------+--------+------------+-------+\n");
}

TEST_CASE("A long cell is wrapped at spaces, which it keeps, and takes 30 columns",
          "[kvctl][format]") {
  CHECK(Table({"errors"}, {{"memberID:16884268368557261862 alarm:NOSPACE "}}) ==
        "+--------------------------------+\n"
        "|             ERRORS             |\n"
        "+--------------------------------+\n"
        "|  memberID:16884268368557261862 |\n"
        "|                 alarm:NOSPACE  |\n"
        "+--------------------------------+\n");
  CHECK(Table({"e"}, {{"cannot connect to 127.0.0.1:2379: Connection refused"}}) ==
        "+--------------------------------+\n"
        "|               E                |\n"
        "+--------------------------------+\n"
        "|              cannot connect to |\n"
        "|     127.0.0.1:2379: Connection |\n"
        "|                        refused |\n"
        "+--------------------------------+\n");
}

TEST_CASE("A word that is too long for a column widens it", "[kvctl][format]") {
  const std::string word(40, 'w');
  CHECK(Table({"e"}, {{"a " + word}}) ==
        "+------------------------------------------+\n"
        "|                    E                     |\n"
        "+------------------------------------------+\n"
        "|                                        a |\n"
        "| " +
            word +
            " |\n"
            "+------------------------------------------+\n");
}

TEST_CASE("A table of no rows has a header and its borders", "[kvctl][format]") {
  CHECK(Table({"ID"}, {}) == "+----+\n| ID |\n+----+\n");
}

}  // namespace keelson::kvctl
