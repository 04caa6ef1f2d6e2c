// SPDX-License-Identifier: MIT
// Loads a compiled loop as the library does, and keeps what the verifier has to say also where it says yes.
#pragma once

#include <ringstep/detail/libbpf.hpp>
#include <ringstep/ring.hpp>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace verifier {

struct Verdict {
    int error = 0;                   // errno of the load, or 0
    std::string log;                 // only what is said at the end: the reason if there is one, and the figures
    unsigned long instructions = 0;  // that the verifier followed
    unsigned long stack = 0;         // bytes, of all functions that may be on it together
};

inline std::vector<char> read_file(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) throw std::runtime_error("cannot read " + path);
    return {std::istreambuf_iterator<char>(stream), {}};
}

// The kit's frozen variable, found without knowing the loop's type. Null if the object was not built with the kit.
inline ringstep_geometry* frozen_geometry(const bpf_object* object) {
    const btf* types = bpf_object__btf(object);
    const int section = types != nullptr ? btf__find_by_name_kind(types, ".rodata", BTF_KIND_DATASEC) : -1;
    if (section < 0) return nullptr;
    const btf_type* type = btf__type_by_id(types, static_cast<__u32>(section));
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object) {
        if (!std::string_view(bpf_map__name(map)).ends_with(".rodata")) continue;
        std::size_t size = 0;
        auto* const bytes = static_cast<std::byte*>(bpf_map__initial_value(map, &size));
        const btf_var_secinfo* variable = btf_var_secinfos(type);
        for (int i = 0; i < btf_vlen(type); i++, variable++) {
            const char* name = btf__name_by_offset(types, btf__type_by_id(types, variable->type)->name_off);
            if (std::string_view(name) == "ringstep_geometry" && variable->offset + sizeof(ringstep_geometry) <= size)
                return reinterpret_cast<ringstep_geometry*>(bytes + variable->offset);
        }
    }
    return nullptr;
}

// The number that the text begins with, and the text behind it.
inline unsigned long take_number(std::string_view& text) {
    unsigned long number = 0;
    const char* const end = std::from_chars(text.data(), text.data() + text.size(), number).ptr;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return number;
}

// The rest of the last line that has the word in it, from behind the word on.
inline std::string_view rest_after(std::string_view text, std::string_view word) {
    const std::size_t at = text.rfind(word);
    if (at == std::string_view::npos) return {};
    text.remove_prefix(at + word.size());
    return text.substr(0, text.find('\n'));
}

// "stack depth 104+40+0", a number for each function, on 7.1; 7.2 adds "max 144", 7.3 says only that. A sum is never too low.
inline unsigned long stack_depth(std::string_view log) {
    std::string_view line = rest_after(log, "stack depth ");
    if (std::string_view most = rest_after(line, "max "); !most.empty()) return take_number(most);
    unsigned long sum = take_number(line);
    while (line.starts_with('+')) {
        line.remove_prefix(1);
        sum += take_number(line);
    }
    return sum;
}

struct Opened {
    std::unique_ptr<bpf_object, void (*)(bpf_object*)> object;
    ringstep_geometry* geometry = nullptr;

    explicit Opened(const std::vector<char>& elf)
        : object(bpf_object__open_mem(elf.data(), elf.size(), nullptr), bpf_object__close) {
        if (!object) return;
        geometry = frozen_geometry(object.get());
        if (geometry == nullptr) throw std::runtime_error("the object was not built with ringstep's kit");
    }
};

// Made out for this ring, with a region as large as the loop needs. Nothing is attached.
inline Verdict load(const std::vector<char>& elf, const ringstep::Ring& ring) {
    constexpr __u32 stats_only = 4;  // BPF_LOG_STATS: every instruction on the way there (level 1) takes ten times as long
    const ringstep::detail::LibbpfDiagnostics diagnostics;  // or they would be printed
    const Opened opened(elf);
    if (!opened.object) return {.error = errno, .log = diagnostics.text()};
    const auto& object = opened.object;
    ringstep_geometry* const geometry = opened.geometry;
    const auto region = ringstep::RegionMemory::allocate(sizeof(ringstep_control) + geometry->state_size);
    *geometry = ring.geometry().for_program(static_cast<__u32>(region->size()), geometry->state_size);

    std::vector<char> log(std::size_t{1} << 20);
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, object.get()) {
        if (bpf_program__type(program) != BPF_PROG_TYPE_STRUCT_OPS) continue;
        bpf_program__set_log_buf(program, log.data(), log.size());
        bpf_program__set_log_level(program, stats_only);
    }
    Verdict verdict;
    verdict.error = -bpf_object__load(object.get());
    verdict.log = log.data();
    std::string_view processed = rest_after(verdict.log, "\nprocessed ");
    verdict.instructions = take_number(processed);
    verdict.stack = stack_depth(verdict.log);
    return verdict;
}

}  // namespace verifier
