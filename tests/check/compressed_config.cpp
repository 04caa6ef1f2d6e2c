// SPDX-License-Identifier: MIT
// ringstep-check reads the configuration out of /proc/config.gz.
#include <check/compressed_config.hpp>

#include <catch2/catch_test_macros.hpp>

#include <check/support.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

using ringstep::support::ConfigOption;
using ringstep::support::Facts;

namespace {

class Folder {
public:
    Folder() {
        std::string path = (std::filesystem::temp_directory_path() / "ringstep-config.XXXXXX").string();
        REQUIRE(::mkdtemp(path.data()) != nullptr);
        path_ = path;
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() { std::filesystem::remove_all(path_); }

    /// A name of spaces and dashes: it is no option and no shell reads it.
    [[nodiscard]] std::string config(const std::string& text) const {
        std::string path = path_ / "-c $(false).gz";
        std::ofstream(path) << text;
        const std::string command = "gzip -nc <'" + path + "' >'" + path + ".new' && mv '" + path + ".new' '" + path + "'";
        REQUIRE(std::system(command.c_str()) == 0);
        return path;
    }

private:
    std::filesystem::path path_;
};

Facts only_compressed() {
    Facts facts;
    facts.config.compressed_only = true;
    return facts;
}

}  // namespace

TEST_CASE("A compressed configuration is read like another one") {
    const Folder folder;
    std::string text = "CONFIG_IO_URING=y\n# CONFIG_BPF_JIT is not set\n";
    for (int i = 0; i < 20'000; i++) text += "CONFIG_OTHER_" + std::to_string(i) + "=m\n";
    text += "CONFIG_BPF_SYSCALL=y\n";
    const std::string path = folder.config(text);
    Facts facts = only_compressed();
    add_compressed_config(facts, path);
    CHECK(facts.config.path == path);
    CHECK(facts.config[ConfigOption::io_uring] == "y");
    CHECK(facts.config[ConfigOption::bpf_syscall] == "y");
    CHECK(facts.config[ConfigOption::bpf_jit].empty());
    const ringstep::Support support(facts);
    CHECK(support.find("config.io_uring")->value == "y");
    CHECK(support.find("config.bpf_jit")->value == "not set");
}

TEST_CASE("A configuration that was read already stays") {
    const Folder folder;
    const std::string path = folder.config("CONFIG_IO_URING=m\n");
    Facts facts = only_compressed();
    facts.config.path = "/boot/config";
    add_compressed_config(facts, path);
    CHECK(facts.config.path == "/boot/config");
    CHECK(facts.config[ConfigOption::io_uring].empty());
}

TEST_CASE("What gzip cannot read, and a system without gzip, leave the facts as they are") {
    const Folder folder;
    const auto check_unread = [](const std::string& path) {
        Facts facts = only_compressed();
        add_compressed_config(facts, path);
        CHECK_FALSE(facts.config.readable());
        CHECK(ringstep::Support(facts).find("config.io_uring")->value == "only in /proc/config.gz");
    };
    const std::string whole = folder.config("CONFIG_IO_URING=y\n");
    check_unread(whole + ".missing");
    const std::string cut = folder.config("CONFIG_IO_URING=y\n");
    std::filesystem::resize_file(cut, std::filesystem::file_size(cut) - 6);
    check_unread(cut);
    const std::string other = whole + ".txt";
    std::ofstream(other) << "CONFIG_IO_URING=y\n";
    check_unread(other);

    const std::string good = folder.config("CONFIG_IO_URING=y\n");
    const std::string path = std::getenv("PATH");
    ::setenv("PATH", "/nowhere", 1);
    check_unread(good);
    ::setenv("PATH", path.c_str(), 1);
}
