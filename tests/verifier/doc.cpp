// SPDX-License-Identifier: MIT
// docs/verifier.md is true: each loop in it stands in a file beside this one, what is wrong is refused with the line that the
// document quotes, and what it offers instead loads.
#include <ringstep/ringstep.hpp>

#include "error_of.hpp"
#include "verifier/load.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fmt/format.h>

#include <sys/utsname.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Lines = std::vector<std::string>;

const std::string repository = RINGSTEP_SOURCE_DIR;
const std::string objects = RINGSTEP_VERIFIER_OBJECTS;

struct Block {
    std::string language;
    Lines lines;
};

struct Section {
    std::string title, loop;  // loop: the name of the file that it is about, without the ending, or nothing
    std::vector<Block> blocks;
};

std::string trimmed(std::string_view line) {
    const std::size_t first = line.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return std::string(line.substr(first, line.find_last_not_of(" \t") - first + 1));
}

Lines lines_of(const std::string& text) {
    Lines lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(trimmed(line));
    return lines;
}

std::string text_of(const std::string& path) {
    const std::vector<char> bytes = verifier::read_file(path);
    return {bytes.begin(), bytes.end()};
}

std::vector<Section> read_document() {
    constexpr std::string_view folder = "tests/verifier/", ending = ".bpf.c";
    std::vector<Section> sections(1);
    bool inside = false;
    for (const std::string& line : lines_of(text_of(repository + "/docs/verifier.md"))) {
        Section& section = sections.back();
        if (line.starts_with("```")) {
            inside = !inside;
            if (inside) section.blocks.push_back({line.substr(3), {}});
        } else if (inside) {
            section.blocks.back().lines.push_back(line);
        } else if (line.starts_with("## ")) {
            sections.push_back({line.substr(3), "", {}});
        } else if (const std::size_t at = line.find(folder); at != std::string::npos) {
            const std::string rest = line.substr(at + folder.size());
            if (rest.find(ending) != std::string::npos) section.loop = rest.substr(0, rest.find(ending));
        }
    }
    return sections;
}

// The file as one of its two loops.
Lines variant(const std::string& loop, bool cured) {
    Lines lines;
    bool taken = true;
    for (const std::string& line : lines_of(text_of(repository + "/tests/verifier/" + loop + ".bpf.c"))) {
        if (line == "#ifndef CURED") {
            taken = !cured;
        } else if (line == "#else") {
            taken = !taken;
        } else if (line == "#endif") {
            taken = true;
        } else if (taken) {
            lines.push_back(line);
        }
    }
    return lines;
}

bool contains(const Lines& lines, const Lines& part) {
    return !part.empty() && std::search(lines.begin(), lines.end(), part.begin(), part.end()) != lines.end();
}

// Registers, instructions and lines have other numbers with another clang, or after a change to the kit.
std::string without_numbers(const std::string& text) {
    std::string masked;
    for (const char c : text) {
        const bool digit = c >= '0' && c <= '9';
        if (!digit) {
            masked += c;
        } else if (!masked.ends_with('#')) {
            masked += '#';
        }
    }
    return masked;
}

bool says(const std::string& log, const Lines& quoted) {
    return contains(lines_of(without_numbers(log)), lines_of(without_numbers(fmt::format("{}", fmt::join(quoted, "\n")))));
}

bool mentions(const std::string& log, const std::string& quoted) {
    return without_numbers(log).find(without_numbers(quoted)) != std::string::npos;
}

bool kernel_has_reports() {
    utsname name{};
    ::uname(&name);
    unsigned major = 0, minor = 0;
    REQUIRE(std::sscanf(name.release, "%u.%u", &major, &minor) == 2);
    return major > 7 || (major == 7 && minor >= 3);
}

// What the library says of a loop that is in the way of its own kernel engine for so long.
std::string refusal_in_time(const std::string& loop, const std::vector<char>& elf, const ringstep::Ring& ring) {
    const verifier::Opened opened(elf);
    const ringstep::detail::LoopObject object{loop, std::as_bytes(std::span(elf)), opened.geometry->state_size};
    const auto bytes = ringstep::RegionMemory::allocate(sizeof(ringstep_control) + opened.geometry->state_size)->size();
    timespec begin{}, end{};
    ::clock_gettime(CLOCK_MONOTONIC, &begin);
    const ringstep::Error error = error_of([&] {
        const ringstep::detail::KernelEngine kernel(object, ring.fd(), ring.geometry(), static_cast<std::uint32_t>(bytes), 2);
    });
    ::clock_gettime(CLOCK_MONOTONIC, &end);
    CHECK(error.error_number() == ETIME);
    CHECK(end.tv_sec - begin.tv_sec >= 1);
    CHECK(end.tv_sec - begin.tv_sec < 20);
    return error.what();
}

struct array_index {
    std::uint64_t received[256];
};

struct array_index_loop {
    using state = ::array_index;
    static constexpr std::string_view name = "array_index";
    static std::span<const std::byte> object() {
        static const std::vector<char> elf = verifier::read_file(objects + "/array_index.wrong.bpf.o");
        return std::as_bytes(std::span(elf));
    }
};

}  // namespace

TEST_CASE("Every loop of the document is a file, and every file is in the document") {
    std::set<std::string> shown, files;
    for (const Section& section : read_document()) {
        if (!section.loop.empty()) shown.insert(section.loop);
    }
    for (const auto& entry : std::filesystem::directory_iterator(repository + "/tests/verifier")) {
        const std::string file = entry.path().filename();
        if (file.ends_with(".bpf.c")) files.insert(file.substr(0, file.size() - 6));
    }
    CHECK(shown == files);
    CHECK(shown.size() == 14);
}

TEST_CASE("What the document shows is refused as it says, and what it offers loads") {
    const ringstep::Ring ring{{.sq_entries = 64, .cq_entries = 256}};
    for (const Section& section : read_document()) {
        if (section.loop.empty()) continue;
        DYNAMIC_SECTION(section.title) {
            REQUIRE(section.blocks.size() == 3);
            const Block &wrong = section.blocks[0], &said = section.blocks[1], &cured = section.blocks[2];
            CHECK(wrong.language == "c");
            CHECK(said.language == "text");
            CHECK(cured.language == "c");

            CHECK(contains(variant(section.loop, false), wrong.lines));
            CHECK_FALSE(contains(variant(section.loop, true), wrong.lines));
            CHECK(contains(variant(section.loop, true), cured.lines));
            CHECK_FALSE(contains(variant(section.loop, false), cured.lines));

            const std::string wrong_object = objects + "/" + section.loop + ".wrong.bpf.o";
            const std::string cured_object = objects + "/" + section.loop + ".cured.bpf.o";
            std::string log = text_of(wrong_object + ".log");
            if (section.loop == "second_counter") {
                log = refusal_in_time(section.loop, verifier::read_file(wrong_object), ring);
            } else if (std::filesystem::file_size(wrong_object) != 0) {
                CHECK(log.empty());  // clang has nothing to say of it
                const verifier::Verdict verdict = verifier::load(verifier::read_file(wrong_object), ring);
                CHECK(verdict.error != 0);
                log = verdict.log;
            }
            INFO(log);
            REQUIRE(said.lines.size() == 1);
            CHECK(mentions(log, said.lines[0]));

            CHECK(text_of(cured_object + ".log").empty());
            const verifier::Verdict verdict = verifier::load(verifier::read_file(cured_object), ring);
            INFO(verdict.log);
            CHECK(verdict.error == 0);
        }
    }
}

TEST_CASE("An application gets at the log as the document says") {
    const std::vector<Section> document = read_document();
    const auto section =
        std::find_if(document.begin(), document.end(), [](const Section& s) { return s.title == "Seeing the log"; });
    REQUIRE(section != document.end());
    REQUIRE(section->blocks.size() == 2);
    CHECK(contains(lines_of(text_of(repository + "/tests/verifier/doc.cpp")), section->blocks[0].lines));

    ringstep::Ring ring;
    std::ostringstream out;
    try {
        ringstep::LoopProgram<array_index_loop> program{ring};
    } catch (const ringstep::Error& error) {
        out << error.verifier_log();
    }
    const std::string log = out.str();
    INFO(log);
    CHECK(mentions(log, "math between mem pointer"));
    if (kernel_has_reports()) CHECK(says(log, section->blocks[1].lines));
}
