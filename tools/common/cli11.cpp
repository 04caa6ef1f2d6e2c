// SPDX-License-Identifier: MIT
// Compiles CLI11 once. As a header-only library, it would cost each program that uses it some seconds.
#include <CLI/impl/App_inl.hpp>
#include <CLI/impl/Argv_inl.hpp>
#include <CLI/impl/Config_inl.hpp>
#include <CLI/impl/Encoding_inl.hpp>
#if __has_include(<CLI/impl/ExtraValidators_inl.hpp>)  // since 2.5
#include <CLI/impl/ExtraValidators_inl.hpp>
#endif
#include <CLI/impl/Formatter_inl.hpp>
#include <CLI/impl/Option_inl.hpp>
#include <CLI/impl/Split_inl.hpp>
#include <CLI/impl/StringTools_inl.hpp>
#include <CLI/impl/Validators_inl.hpp>
